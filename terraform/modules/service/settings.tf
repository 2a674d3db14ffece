# The settings of each machine: settings.env beside its role's install.sh. None of them is a secret.

locals {
  # For each node its connections (database.max_connections) and the two on which it listens; and some more for
  # operators, backups, and a node that is being replaced.
  node_connections = tonumber(lookup(var.web_settings, "database.max_connections", "16")) + 2
  # In hundreds: another number restarts Postgres, and adding a node should seldom do that.
  postgres_connections = 100 * ceil((local.node_connections * (length(local.by_role["web"]) + 1) + 10) / 100)

  entrance = (
    var.virtual_address != "" ? split("/", var.virtual_address)[0]
    : try(local.addresses["load-balancer"][0], "")
  )
  service_url = var.public_url != "" ? var.public_url : "${local.has_tls ? "https" : "http"}://${local.entrance}"

  role_settings = {
    postgres = {
      WEB_ADDRESSES   = join(" ", local.addresses["web"])
      DATABASE        = "shunt"
      DATABASE_USER   = "shunt"
      MAX_CONNECTIONS = tostring(local.postgres_connections)
      BACKUP_TIME     = var.backup.time
      BACKUP_KEEP     = tostring(var.backup.keep)
    }
    redis = {
      WEB_ADDRESSES = join(" ", local.addresses["web"])
      MAX_MEMORY    = var.redis_max_memory
    }
    web = merge({
      LOAD_BALANCER_ADDRESSES = join(" ", local.addresses["load-balancer"])
      POSTGRES_ADDRESS        = local.addresses["postgres"][0]
      REDIS_ADDRESS           = local.addresses["redis"][0]
      DATABASE                = "shunt"
      DATABASE_USER           = "shunt"
      QUOTA                   = "${var.quota.limit}/${var.quota.window_seconds}s"
      PUBLIC_URL              = var.public_url
      MONITORING_NETWORKS     = join(" ", var.monitoring_networks)
      MEMORY_MAX              = var.web_memory_max
      }, {
      for position, key in sort(keys(var.web_settings)) :
      "EXTRA_ENVIRONMENT_${position}" => "SHUNT__${upper(replace(key, ".", "__"))}=${var.web_settings[key]}"
    })
    "load-balancer" = {
      WEB_ADDRESSES = join(" ", [
        for name in sort(keys(local.by_role["web"])) : local.by_role["web"][name].address
        if !contains(var.drained_web_nodes, name)
      ])
      ALL_LOAD_BALANCERS = join(" ", local.addresses["load-balancer"])
      VIRTUAL_ADDRESS    = var.virtual_address
      VIRTUAL_ROUTER_ID  = "51"
      TLS                = tostring(local.has_tls)
      CLIENT_CONNECTIONS = tostring(var.connections_per_client)
    }
    "load-tester" = {
      SERVICE_URL  = local.service_url
      QUOTA_LIMIT  = tostring(var.quota.limit)
      QUOTA_WINDOW = tostring(var.quota.window_seconds)
    }
  }

  settings = {
    for name, machine in var.machines : name => join("", [
      for key, value in merge(
        {
          NAME               = name
          ROLE               = machine.role
          ADDRESS            = machine.address
          SSH_PORT           = tostring(var.ssh.port)
          ADMIN_NETWORKS     = join(" ", var.admin_networks)
          AUTOMATIC_UPGRADES = tostring(var.automatic_upgrades)
          GUEST_AGENT        = tostring(var.guest_agent)
        },
        local.role_settings[machine.role],
        # The first load balancer has the virtual address while it works.
        machine.role == "load-balancer" ? { PRIORITY = tostring(150 - 10 * index(local.addresses["load-balancer"], machine.address)) } : {},
      ) : "${key}='${replace(value, "'", "'\\''")}'\n"
    ])
  }
}
