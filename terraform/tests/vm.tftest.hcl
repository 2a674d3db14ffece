# The settings of one machine, and above all those that it does not have. See the comments in modules/vm.

mock_provider "proxmox" {}

variables {
  name                = "shunt-web-1"
  vm_id               = 5101
  node_name           = "pve"
  pool                = "shunt"
  description         = ""
  tags                = ["web", "Shunt", "a", "shunt"]
  size                = { cores = 2, memory = 1024, disk = 8 }
  cpu_type            = "x86-64-v2-AES"
  startup_order       = 2
  protection          = true
  reboot_after_update = false
  datastore           = "local-lvm"
  image               = "local:import/debian.qcow2"
  network             = { bridge = "vmbr0", vlan_id = null, address = "10.0.0.111/24", gateway = "10.0.0.1", dns = [] }
  user                = { name = "debian", keys = ["ssh-ed25519 AAAA"] }
}

run "known_traps_are_avoided" {
  command = plan
  module {
    source = "./modules/vm"
  }
  assert {
    condition     = proxmox_virtual_environment_vm.this.tags == tolist(["a", "shunt", "web"])
    error_message = "Tags that are not sorted, distinct and in lower case differ in every plan: ${jsonencode(proxmox_virtual_environment_vm.this.tags)}"
  }
  assert {
    condition     = length(proxmox_virtual_environment_vm.this.serial_device) == 1
    error_message = "Without a serial device, Debian 12 panics on a resized disk."
  }
  assert {
    condition     = proxmox_virtual_environment_vm.this.agent[0].enabled && !proxmox_virtual_environment_vm.this.stop_on_destroy
    error_message = "Without the agent, the provider cuts a machine's power instead of shutting it down."
  }
  assert {
    condition     = try(proxmox_virtual_environment_vm.this.agent[0].wait_for_ip[0].disabled, false)
    error_message = "As long as no agent runs, each create and each refresh would wait 15 minutes for it."
  }
  assert {
    condition     = try(proxmox_virtual_environment_vm.this.initialization[0].user_account[0].username, "") == "debian" && proxmox_virtual_environment_vm.this.initialization[0].ip_config[0].ipv4[0].address == "10.0.0.111/24"
    error_message = "Not Proxmox VE's own cloud-init settings."
  }
  assert {
    condition     = proxmox_virtual_environment_vm.this.protection && !proxmox_virtual_environment_vm.this.reboot_after_update
    error_message = "Not protected, or restarted by Terraform."
  }
}
