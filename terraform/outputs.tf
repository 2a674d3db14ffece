output "service_url" {
  description = "Where people shorten and follow links."
  value       = module.service.service_url
}

output "addresses" {
  description = "Every machine's address."
  value       = local.addresses
}

output "machines" {
  description = "Every machine's id and MAC address in Proxmox VE, and what changes when it is made anew."
  value       = { for name, vm in module.vm : name => { vm_id = vm.vm_id, mac_address = vm.mac_address, instance = vm.instance } }
}

output "commands" {
  description = "Commands to log in, to watch, to run the proof of the limit, and to take a backup."
  value       = module.service.commands
}
