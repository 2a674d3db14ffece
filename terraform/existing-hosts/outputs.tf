output "service_url" {
  description = "Where people shorten and follow links."
  value       = module.service.service_url
}

output "addresses" {
  description = "Every machine's address."
  value       = { for name, machine in local.addresses : name => machine.address }
}

output "commands" {
  description = "Commands to log in, to watch, to run the proof of the limit, and to take a backup."
  value       = module.service.commands
}
