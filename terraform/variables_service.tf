# What the machines serve: as in existing-hosts/variables.tf, for the same modules/service.

# --- What they serve ------------------------------------------------------------------------------------------------

variable "set_up_machines" {
  description = "Whether roles, secrets and releases are brought to the machines by SSH; false: only the machines are made."
  type        = bool
  default     = true
  nullable    = false
}

variable "binary" {
  description = "The program, made by `make release-binary`."
  type        = string
  default     = "../dist/shunt"
  nullable    = false

  validation {
    condition     = !var.set_up_machines || try(fileexists(var.binary), false)
    error_message = "binary: there is no such file, ${var.binary}. `make release-binary` makes it, as dist/shunt."
  }
}

variable "k6_binary" {
  description = "A k6 binary for the load tester; empty: from k6's package repository."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.k6_binary == "" ? true : try(fileexists(var.k6_binary), false)
    error_message = "k6_binary: there is no such file."
  }
}

variable "quota" {
  description = "Requests that a client may make in any window of so many seconds."
  type = object({
    limit          = number
    window_seconds = number
  })
  default  = { limit = 10, window_seconds = 60 }
  nullable = false

  validation {
    condition = (
      var.quota.limit >= 1 && var.quota.limit <= 1000000 && floor(var.quota.limit) == var.quota.limit
      && var.quota.window_seconds >= 1 && var.quota.window_seconds <= 31622400 && floor(var.quota.window_seconds) == var.quota.window_seconds
    )
    error_message = "quota: a limit of 1 to 1,000,000 and a window of 1 second to 366 days, both whole."
  }
}

variable "public_url" {
  description = "What short links begin with, such as \"https://sho.rt\"; empty: the scheme and host of the request."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.public_url == "" || can(regex("^https?://[^/?#\\s]+(/[^?#\\s]*)?$", var.public_url))
    error_message = "public_url: http:// or https://, a host, perhaps a path."
  }
}

variable "web_settings" {
  description = "Further keys of the program's configuration, such as \"cache.ttl\" = \"30s\". Not for secrets."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for key in keys(var.web_settings) : can(regex("^[a-z0-9_]+(\\.[a-z0-9_]+)+$", key))])
    error_message = "web_settings: keys are written as in docs/configuration.md, such as \"cache.ttl\"."
  }
}

variable "web_memory_max" {
  description = "The most memory that the program may take on a web node, as systemd writes it."
  type        = string
  default     = "512M"
  nullable    = false

  validation {
    condition     = can(regex("^[1-9][0-9]*[MG]$", var.web_memory_max))
    error_message = "web_memory_max: such as 512M or 2G."
  }
}

variable "drained_web_nodes" {
  description = "Names of web nodes that get no requests, such as one that is about to be removed."
  type        = set(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.drained_web_nodes : contains([for n in range(var.web_count) : "web-${n + 1}"], name)]) && length(var.drained_web_nodes) < var.web_count
    error_message = "drained_web_nodes: names of web nodes (web-1, …), and not all of them."
  }
}

variable "redis_max_memory" {
  description = "Redis's memory cap, such as \"512mb\"; empty: 256 MB, as docker/redis.conf says."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.redis_max_memory == "" || can(regex("^[1-9][0-9]*(mb|gb)$", var.redis_max_memory))
    error_message = "redis_max_memory: such as 512mb or 2gb."
  }
}

variable "backup" {
  description = "When the database is dumped each day (HH:MM, the machine's time), and how many dumps are kept."
  type = object({
    time = string
    keep = number
  })
  default  = { time = "03:15", keep = 14 }
  nullable = false

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]$", var.backup.time)) && var.backup.keep >= 1 && floor(var.backup.keep) == var.backup.keep
    error_message = "backup: a time such as 03:15, and at least one dump to keep."
  }
}

# --- Who may reach them ---------------------------------------------------------------------------------------------

variable "admin_networks" {
  description = "Networks that may log in by SSH. Yours has to be among them."
  type        = list(string)
  default     = ["0.0.0.0/0", "::/0"]
  nullable    = false

  validation {
    condition     = length(var.admin_networks) > 0 && alltrue([for n in var.admin_networks : can(cidrhost(n, 0))])
    error_message = "admin_networks: at least one network, such as 192.168.1.0/24."
  }
}

variable "monitoring_networks" {
  description = "Networks that may read the web nodes' metrics and probes on port 9180; without any, these listen on loopback only."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for n in var.monitoring_networks : can(cidrhost(n, 0))])
    error_message = "monitoring_networks: networks, such as 192.168.1.0/24."
  }
}

variable "connections_per_client" {
  description = "The most connections that one client (an IPv4 address or an IPv6 /64) may have to a load balancer, by its firewall; 0: as many as it likes, as behind Cloudflare or another balancer, which is one client."
  type        = number
  default     = 512
  nullable    = false

  validation {
    condition     = var.connections_per_client >= 0 && var.connections_per_client <= 1000000 && floor(var.connections_per_client) == var.connections_per_client
    error_message = "connections_per_client: a whole number to 1,000,000; 0 is off."
  }
}

variable "automatic_upgrades" {
  description = "Whether machines install security upgrades by themselves."
  type        = bool
  default     = true
  nullable    = false
}

# --- Secrets --------------------------------------------------------------------------------------------------------

variable "postgres_password" {
  description = "Password of the service's user in Postgres; null: a random one. Letters, digits, - and _."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.postgres_password == null || can(regex("^[A-Za-z0-9_-]{12,128}$", var.postgres_password))
    error_message = "postgres_password: 12 to 128 letters, digits, - and _: it becomes part of URLs and of configuration files."
  }
}

variable "redis_password" {
  description = "Password of the service's user in Redis; null: a random one. Letters, digits, - and _."
  type        = string
  default     = null
  sensitive   = true

  validation {
    condition     = var.redis_password == null || can(regex("^[A-Za-z0-9_-]{12,128}$", var.redis_password))
    error_message = "redis_password: 12 to 128 letters, digits, - and _: it becomes part of URLs and of configuration files."
  }
}

variable "tls" {
  description = "Certificate chain and private key (PEM) for the load balancers; null: plain HTTP."
  type = object({
    certificate = string
    private_key = string
  })
  default   = null
  sensitive = true

  # Checks only that the two have not been mixed up.
  validation {
    condition = var.tls == null || (
      can(regex("^\\s*-----BEGIN CERTIFICATE-----", var.tls.certificate)) && can(regex("^\\s*-----BEGIN ([A-Z]+ )?PRIVATE KEY-----", var.tls.private_key))
    )
    error_message = "tls: certificate and private_key are the contents of PEM files; the key without a passphrase."
  }
}
