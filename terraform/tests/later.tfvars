# Values that hold only for machines that are made later; see scripts/terraform-check.
image           = { url = "https://example.com/images/debian-12-newer.qcow2", sha512 = "11111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111" }
ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB somebody@example"]
ssh_user        = "somebody"
name_prefix     = "another-"
network         = { dns = ["10.0.0.53"] }
