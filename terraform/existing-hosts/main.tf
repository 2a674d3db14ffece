# The same service, roles and releases on Debian 12 machines that exist already.

terraform {
  # Validation of one variable by another; no provider but Terraform's own.
  required_version = ">= 1.9"
}

locals {
  addresses = merge(
    { for position, address in var.load_balancers : "lb-${position + 1}" => { address = address, role = "load-balancer" } },
    { for position, address in var.web_nodes : "web-${position + 1}" => { address = address, role = "web" } },
    { redis = { address = var.redis, role = "redis" } },
    { postgres = { address = var.postgres, role = "postgres" } },
    var.load_tester == "" ? {} : { load-tester = { address = var.load_tester, role = "load-tester" } },
  )
}

# 122 random bits each from the operating system's generator, made once and kept in the state. To make a new one:
# terraform apply -replace=terraform_data.redis_password
resource "terraform_data" "postgres_password" {
  input = sensitive(replace(uuid(), "-", ""))

  lifecycle {
    ignore_changes = [input]
  }
}

resource "terraform_data" "redis_password" {
  input = sensitive(replace(uuid(), "-", ""))

  lifecycle {
    ignore_changes = [input]
  }
}

module "service" {
  source = "../modules/service"

  machines = {
    for name, machine in local.addresses : name => merge(machine, {
      instance = lookup(var.instances, name, machine.address)
    })
  }
  repository       = "${path.module}/../.."
  known_hosts_file = var.known_hosts_file

  ssh = {
    user             = var.ssh_user
    port             = var.ssh_port
    private_key_file = pathexpand(var.ssh_private_key_file)
    command          = var.ssh_command
    wait_seconds     = var.ssh_wait_seconds
  }

  postgres_password = coalesce(var.postgres_password, terraform_data.postgres_password.output)
  redis_password    = coalesce(var.redis_password, terraform_data.redis_password.output)
  tls               = var.tls

  binary    = var.binary
  k6_binary = var.k6_binary

  quota                  = var.quota
  public_url             = var.public_url
  web_settings           = var.web_settings
  web_memory_max         = var.web_memory_max
  drained_web_nodes      = var.drained_web_nodes
  admin_networks         = var.admin_networks
  monitoring_networks    = var.monitoring_networks
  virtual_address        = var.virtual_address
  connections_per_client = var.connections_per_client
  automatic_upgrades     = var.automatic_upgrades
  backup                 = var.backup
  redis_max_memory       = var.redis_max_memory
}
