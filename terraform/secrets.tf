# Letters and digits: they become part of URLs. They are in the state, like everything that Terraform makes up; see
# README.md for how to protect it.
resource "random_password" "postgres" {
  length  = 32
  special = false
}

resource "random_password" "redis" {
  length  = 32
  special = false
}
