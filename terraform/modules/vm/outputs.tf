output "vm_id" {
  description = "The VM's id."
  value       = proxmox_virtual_environment_vm.this.vm_id
}

output "mac_address" {
  description = "Its MAC address, which Proxmox VE makes up."
  value       = proxmox_virtual_environment_vm.this.network_device[0].mac_address
}

# A machine that is made anew has the same id, but another MAC address. The address is in it, because a machine that gets
# another makes new SSH host keys as well.
output "instance" {
  description = "Changes when the machine is another one."
  value = join("/", [
    proxmox_virtual_environment_vm.this.id,
    coalesce(proxmox_virtual_environment_vm.this.network_device[0].mac_address, "-"),
    var.network.address,
  ])
}
