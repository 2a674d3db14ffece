locals {
  ssh_words = join(" ", compact([
    var.ssh.command,
    var.ssh.private_key_file == "" ? "" : "-i ${var.ssh.private_key_file}",
    var.ssh.port == 22 ? "" : "-p ${var.ssh.port}",
  ]))
  log_in   = { for name, machine in var.machines : name => "${local.ssh_words} ${var.ssh.user}@${machine.address}" }
  postgres = one(keys(local.by_role["postgres"]))
  tester   = one(keys(local.by_role["load-tester"]))
}

output "service_url" {
  description = "Where people shorten and follow links."
  value       = local.service_url
}

output "settings" {
  description = "What each machine is told; no secrets."
  value       = local.settings
}

output "commands" {
  description = "Commands for everyday work."
  value = {
    log_in = local.log_in
    watch  = { for name in sort(keys(local.by_role["web"])) : name => "${local.log_in[name]} sudo journalctl -fu shunt" }
    proof  = local.tester == null ? null : "${local.log_in[local.tester]} shunt-proof"
    backup = "${local.log_in[local.postgres]} sudo systemctl start shunt-backup"
  }
}
