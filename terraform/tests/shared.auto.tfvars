# The four values that have no default, for every test; nothing of it is anybody's.
endpoint        = "https://127.0.0.1:1/"
api_token       = "terraform@pve!shunt=00000000-0000-0000-0000-000000000000"
ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA nobody@example"]
image           = { sha512 = "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000" }
