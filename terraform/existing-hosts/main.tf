# The same service on Debian 12 machines that exist already, wherever they came from: the same roles and releases.

terraform {
  required_version = ">= 1.9"

  required_providers {
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
  }
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

# Letters and digits: they become part of URLs.
resource "random_password" "postgres" {
  length  = 32
  special = false
}

resource "random_password" "redis" {
  length  = 32
  special = false
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
    private_key_file = var.ssh_private_key_file
    command          = var.ssh_command
    wait_seconds     = var.ssh_wait_seconds
  }

  postgres_password = coalesce(var.postgres_password, random_password.postgres.result)
  redis_password    = coalesce(var.redis_password, random_password.redis.result)
  tls               = var.tls

  binary    = var.binary
  k6_binary = var.k6_binary

  quota               = var.quota
  public_url          = var.public_url
  web_settings        = var.web_settings
  web_memory_max      = var.web_memory_max
  drained_web_nodes   = var.drained_web_nodes
  admin_networks      = var.admin_networks
  monitoring_networks = var.monitoring_networks
  virtual_address     = var.virtual_address
  automatic_upgrades  = var.automatic_upgrades
  backup              = var.backup
  redis_max_memory    = var.redis_max_memory
}
