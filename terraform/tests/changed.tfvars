# What may change without a machine being made anew; see scripts/terraform-check.
quota           = { limit = 20, window_seconds = 60 }
image           = { url = "https://example.com/images/debian-12-newer.qcow2", sha512 = "11111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111111" }
ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB somebody@example"]
ssh_user        = "somebody"
name_prefix     = "another-"
network         = { dns = ["10.0.0.53"] }
sizes           = { web = { memory = 2048 }, postgres = { disk = 40 } }
tags            = ["another"]
