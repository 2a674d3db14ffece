# Letters and digits, because they become part of URLs. The state holds them, like all random values of Terraform;
# README.md says how to protect it.
resource "random_password" "postgres" {
  length  = 32
  special = false
}

resource "random_password" "redis" {
  length  = 32
  special = false
}
