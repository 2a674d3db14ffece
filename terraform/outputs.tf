output "service_url" {
  description = "Where people shorten and follow links."
  value       = module.service.service_url
}

output "addresses" {
  description = "Every machine's address."
  value       = local.addresses
}

output "vm_ids" {
  description = "Every machine's id in Proxmox VE."
  value       = { for name, vm in module.vm : name => vm.vm_id }
}

output "commands" {
  description = "Commands to log in, to watch, to run the proof of the limit, and to take a backup."
  value       = module.service.commands
}
