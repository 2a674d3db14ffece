output "vm_id" {
  description = "The VM's id."
  value       = proxmox_virtual_environment_vm.this.vm_id
}

output "mac_address" {
  description = "Its MAC address, which Proxmox VE makes up."
  value       = proxmox_virtual_environment_vm.this.network_device[0].mac_address
}

# A replaced machine has the same id and another MAC address. The IP address is part of this, because a machine that
# gets another one makes new SSH host keys.
output "instance" {
  description = "Changes when the machine is another one."
  value = join("/", [
    proxmox_virtual_environment_vm.this.id,
    coalesce(proxmox_virtual_environment_vm.this.network_device[0].mac_address, "-"),
    var.network.address,
  ])
}
