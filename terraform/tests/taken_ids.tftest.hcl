# An id that another machine has is an error of the plan. The provider would take that machine for its own, start it,
# and delete it later. scripts/terraform-check asks the real provider, with a Proxmox VE that has such machines.
#
# Here machines are left out (override_module), so that the taken ids can be compared; the last run has a single
# machine.

mock_provider "proxmox" {
  mock_data "proxmox_virtual_environment_pools" {
    defaults = { pool_ids = ["another", "shunt"] }
  }
  mock_data "proxmox_virtual_environment_pool" {
    defaults = {
      members = [
        { id = "qemu/5101", type = "qemu", vm_id = 5101, node_name = "pve", datastore_id = "" },
        { id = "qemu/5102", type = "qemu", vm_id = 5102, node_name = "pve", datastore_id = "" },
        { id = "storage/pve/local", type = "storage", vm_id = 0, node_name = "pve", datastore_id = "local" },
      ]
    }
  }
  mock_data "proxmox_virtual_environment_vms" {
    defaults = {
      vms = [
        { vm_id = 100, name = "somewhere else", node_name = "pve", tags = [], status = "running", template = false },
        # Ours.
        { vm_id = 5101, name = "shunt-web-1", node_name = "pve", tags = ["shunt", "web"], status = "running", template = false },
        # In our pool with another tag, for example after a copy.
        { vm_id = 5102, name = "nas", node_name = "pve-2", tags = ["shunt"], status = "stopped", template = false },
        # Of another Shunt: with all the tags, but not in our pool.
        { vm_id = 5020, name = "shunt-postgres", node_name = "pve", tags = ["postgres", "shunt"], status = "running", template = false },
      ]
    }
  }
  mock_data "proxmox_virtual_environment_containers" {
    defaults = {
      containers = [
        { vm_id = 5010, name = "dns", node_name = "pve", tags = ["redis", "shunt"], status = "running", template = false },
      ]
    }
  }
}

override_module {
  target  = module.vm
  outputs = { vm_id = 0, mac_address = "", instance = "" }
}

variables {
  ssh_command = "tests/ssh"
}

run "what_is_not_ours_is_a_stranger" {
  command = plan

  assert {
    condition = { for name, others in local.taken_by : name => others if length(others) > 0 } == {
      web-2    = ["the virtual machine \"nas\" on pve-2"]
      postgres = ["the virtual machine \"shunt-postgres\" on pve"]
      redis    = ["the container \"dns\" on pve"]
    }
    error_message = "Other ids are taken, or by others: ${jsonencode(local.taken_by)}"
  }
}

run "nothing_is_ours_before_the_first_apply" {
  command = plan
  override_data {
    target = data.proxmox_virtual_environment_pools.all
    values = { pool_ids = ["another"] }
  }
  assert {
    condition     = length(local.taken_by["web-1"]) == 1 && length(data.proxmox_virtual_environment_pool.ours) == 0
    error_message = "A machine with our tags is ours, without our pool: ${jsonencode(local.taken_by)}"
  }
}

run "other_ids_are_free" {
  command = plan
  variables {
    vm_id_base = 6000
  }
  assert {
    condition     = alltrue([for others in values(local.taken_by) : length(others) == 0])
    error_message = "Taken: ${jsonencode(local.taken_by)}"
  }
}

run "a_taken_id_is_an_error" {
  command = plan
  module {
    source = "./modules/vm"
  }
  variables {
    name                = "shunt-web-1"
    vm_id               = 5101
    taken_by            = ["the virtual machine \"nas\" on pve"]
    node_name           = "pve"
    pool                = "shunt"
    description         = ""
    tags                = ["shunt", "web"]
    size                = { cores = 2, memory = 1024, disk = 8 }
    cpu_type            = "x86-64-v2-AES"
    startup_order       = 2
    protection          = false
    reboot_after_update = false
    datastore           = "local-lvm"
    image               = "local:import/debian.qcow2"
    network             = { bridge = "vmbr0", vlan_id = null, address = "10.0.0.111/24", gateway = "10.0.0.1", dns = [] }
    user                = { name = "debian", keys = ["ssh-ed25519 AAAA"] }
  }
  expect_failures = [proxmox_virtual_environment_vm.this]
}
