# Which machines there are, and what they have in common. The provider's schemas are the real ones.

mock_provider "proxmox" {
  mock_resource "proxmox_download_file" {
    defaults = { id = "local:import/debian.qcow2" }
  }
}

variables {
  ssh_command = "tests/ssh"
}

run "the_reference_set_up_is_the_default" {
  command = plan

  assert {
    condition = output.addresses == {
      lb-1        = "10.0.0.100", web-1 = "10.0.0.111", web-2 = "10.0.0.112", redis = "10.0.0.130",
      load-tester = "10.0.0.160", postgres = "10.0.0.200",
    }
    error_message = "Other machines, or other addresses: ${jsonencode(output.addresses)}"
  }
  assert {
    condition     = output.service_url == "http://10.0.0.100"
    error_message = "The service's URL is ${output.service_url}."
  }
  assert {
    condition     = length(distinct(values(local.vm_id_offsets))) == 6
    error_message = "Two machines have the same id."
  }
  assert {
    condition     = proxmox_download_file.debian.content_type == "import" && proxmox_download_file.debian.checksum_algorithm == "sha512"
    error_message = "The image is not imported, or its checksum not checked."
  }
  assert {
    condition     = proxmox_download_file.debian.overwrite_unmanaged && !proxmox_download_file.debian.overwrite
    error_message = "What an interrupted download left would block the next apply."
  }
}

run "all_of_it_can_be_applied" {
  assert {
    condition     = length(output.machines) == 6 && output.machines["postgres"].vm_id == 5020 && output.machines["web-2"].vm_id == 5102
    error_message = "Not the six machines: ${jsonencode(output.machines)}"
  }
  assert {
    condition     = length(output.commands.log_in) == 6 && output.commands.log_in["redis"] != "" && length(output.commands.watch) == 2
    error_message = "Not a command for each machine."
  }
  assert {
    condition     = strcontains(output.commands.proof, "10.0.0.160") && strcontains(output.commands.backup, "10.0.0.200")
    error_message = "The proof is not run on the load tester, or the backup not taken on the database's machine."
  }
  assert {
    condition     = alltrue([for settings in values(module.service.settings) : strcontains(settings, "GUEST_AGENT='true'")])
    error_message = "A machine gets no guest agent, so that its host cannot shut it down."
  }
}

run "one_web_node" {
  variables {
    web_count = 1
  }
  assert {
    condition     = [for name in keys(output.machines) : name if startswith(name, "web-")] == ["web-1"]
    error_message = "Other web nodes than web-1."
  }
}

run "five_web_nodes" {
  variables {
    web_count = 5
  }
  assert {
    condition     = [for n in range(1, 6) : output.addresses["web-${n}"]] == ["10.0.0.111", "10.0.0.112", "10.0.0.113", "10.0.0.114", "10.0.0.115"]
    error_message = "Other addresses: ${jsonencode(output.addresses)}"
  }
  assert {
    condition     = strcontains(module.service.settings["lb-1"], "WEB_ADDRESSES='10.0.0.111 10.0.0.112 10.0.0.113 10.0.0.114 10.0.0.115'")
    error_message = "The load balancer is not told all of them: ${module.service.settings["lb-1"]}"
  }
}

run "addresses_count_on_after_255" {
  command = plan
  variables {
    network           = { cidr = "10.0.0.0/16" }
    web_first_address = "10.0.0.254"
    web_count         = 3
  }
  assert {
    condition     = output.addresses["web-3"] == "10.0.1.0"
    error_message = "web-3 has ${output.addresses["web-3"]}."
  }
}

run "no_load_tester" {
  variables {
    load_tester = false
  }
  assert {
    condition     = !contains(keys(output.machines), "load-tester") && output.commands.proof == null
    error_message = "There is a load tester, or a command for it."
  }
}

run "two_load_balancers" {
  variables {
    load_balancer_count = 2
    virtual_address     = "10.0.0.99/24"
  }
  assert {
    condition     = output.addresses["lb-2"] == "10.0.0.101" && output.service_url == "http://10.0.0.99"
    error_message = "lb-2 has ${output.addresses["lb-2"]}, and the service is at ${output.service_url}."
  }
  assert {
    condition     = strcontains(module.service.settings["lb-2"], "VIRTUAL_ADDRESS='10.0.0.99/24'")
    error_message = "lb-2 is not told of the virtual address."
  }
}

run "another_network" {
  command = plan
  variables {
    network           = { cidr = "192.168.7.0/24", gateway = "192.168.7.254", bridge = "vmbr1", vlan_id = 7, dns = ["192.168.7.53"] }
    web_first_address = "192.168.7.11"
    addresses         = { load_balancers = ["192.168.7.10"], redis = "192.168.7.30", postgres = "192.168.7.40", load_tester = "192.168.7.60" }
    vm_ids            = { postgres = 200 }
    node_name         = "host-2"
    datastores        = { disks = "tank" }
  }
  assert {
    condition     = output.machines["postgres"].vm_id == 200 && output.addresses["web-2"] == "192.168.7.12"
    error_message = "Not the given id or address."
  }
}

run "only_the_machines" {
  command = plan
  variables {
    set_up_machines = false
    binary          = "no/such/file"
  }
}
