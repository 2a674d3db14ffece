module "service" {
  source = "./modules/service"

  machines = {
    for name, role in local.roles : name => {
      address  = local.addresses[name]
      role     = role
      instance = module.vm[name].instance
    }
  }
  repository       = "${path.module}/.."
  known_hosts_file = var.known_hosts_file
  enabled          = var.set_up_machines

  ssh = {
    user             = var.ssh_user
    private_key_file = pathexpand(var.ssh_private_key_file)
    command          = var.ssh_command
    wait_seconds     = var.ssh_wait_seconds
  }

  postgres_password = coalesce(var.postgres_password, random_password.postgres.result)
  redis_password    = coalesce(var.redis_password, random_password.redis.result)
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
  guest_agent            = true
  backup                 = var.backup
  redis_max_memory       = var.redis_max_memory
}
