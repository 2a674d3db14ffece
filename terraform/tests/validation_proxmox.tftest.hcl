# Values for Proxmox VE and for logging in: each wrong one is an error of the plan, before anything is made.

mock_provider "proxmox" {}

run "an_endpoint_without_tls" {
  command = plan
  variables {
    endpoint = "http://192.168.1.10:8006/"
  }
  expect_failures = [var.endpoint]
}

run "an_endpoint_with_the_path_of_the_web_interface" {
  command = plan
  variables {
    endpoint = "https://192.168.1.10:8006/#v1:0"
  }
  expect_failures = [var.endpoint]
}

run "an_api_token_without_its_name" {
  command = plan
  variables {
    api_token = "terraform@pve=00000000-0000-0000-0000-000000000000"
  }
  expect_failures = [var.api_token]
}

run "an_api_token_without_its_realm" {
  command = plan
  variables {
    api_token = "terraform!shunt=00000000-0000-0000-0000-000000000000"
  }
  expect_failures = [var.api_token]
}

run "an_api_token_without_its_secret" {
  command = plan
  variables {
    api_token = "terraform@pve!shunt"
  }
  expect_failures = [var.api_token]
}

run "an_api_token_with_the_headers_prefix" {
  command = plan
  variables {
    api_token = "PVEAPIToken=terraform@pve!shunt=00000000-0000-0000-0000-000000000000"
  }
  expect_failures = [var.api_token]
}

run "a_bad_node_name" {
  command = plan
  variables {
    node_name = "pve_1"
  }
  expect_failures = [var.node_name]
}

run "a_bad_pool" {
  command = plan
  variables {
    pool = "my pool"
  }
  expect_failures = [var.pool]
}

run "a_bad_datastore" {
  command = plan
  variables {
    datastores = { disks = "/dev/sda" }
  }
  expect_failures = [var.datastores]
}

run "an_image_that_changes" {
  command = plan
  variables {
    image = { url = "https://cloud.debian.org/images/cloud/bookworm/latest/debian-12-generic-amd64.qcow2", sha512 = "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000" }
  }
  expect_failures = [var.image]
}

run "an_image_that_is_no_qcow2" {
  command = plan
  variables {
    image = { url = "https://example.com/debian-12.raw", sha512 = "00000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000" }
  }
  expect_failures = [var.image]
}

run "a_checksum_of_another_kind" {
  command = plan
  variables {
    image = { sha512 = "0000000000000000000000000000000000000000000000000000000000000000" }
  }
  expect_failures = [var.image]
}

run "a_checksum_that_was_not_filled_in" {
  command = plan
  variables {
    image = { sha512 = "" }
  }
  expect_failures = [var.image]
}

run "no_public_key" {
  command = plan
  variables {
    ssh_public_keys = []
  }
  expect_failures = [var.ssh_public_keys]
}

run "a_public_key_that_was_not_filled_in" {
  command = plan
  variables {
    ssh_public_keys = [""]
  }
  expect_failures = [var.ssh_public_keys]
}

run "a_public_keys_path" {
  command = plan
  variables {
    ssh_public_keys = ["~/.ssh/id_ed25519.pub"]
  }
  expect_failures = [var.ssh_public_keys]
}

run "a_private_key" {
  command = plan
  variables {
    ssh_public_keys = ["-----BEGIN OPENSSH PRIVATE KEY-----"]
  }
  expect_failures = [var.ssh_public_keys]
}

run "two_public_keys_in_one" {
  command = plan
  variables {
    ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA nobody@example\nssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA nobody@example"]
  }
  expect_failures = [var.ssh_public_keys]
}

run "root_logs_in" {
  command = plan
  variables {
    ssh_user = "root"
  }
  expect_failures = [var.ssh_user]
}

run "a_bad_user" {
  command = plan
  variables {
    ssh_user = "De bian"
  }
  expect_failures = [var.ssh_user]
}

run "a_private_key_file_that_is_not_there" {
  command = plan
  variables {
    ssh_private_key_file = "no/such/file"
  }
  expect_failures = [var.ssh_private_key_file]
}

run "no_time_to_wait" {
  command = plan
  variables {
    ssh_wait_seconds = 0
  }
  expect_failures = [var.ssh_wait_seconds]
}

run "a_bad_cpu_type" {
  command = plan
  variables {
    cpu_type = "host,flags=+aes"
  }
  expect_failures = [var.cpu_type]
}

run "a_bad_name_prefix" {
  command = plan
  variables {
    name_prefix = "Shunt_"
  }
  expect_failures = [var.name_prefix]
}

run "a_bad_tag" {
  command = plan
  variables {
    tags = ["a;b"]
  }
  expect_failures = [var.tags]
}
