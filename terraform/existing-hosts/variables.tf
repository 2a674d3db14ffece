# --- The machines -------------------------------------------------------------------------------------------------

variable "load_balancers" {
  description = "Addresses of the load balancers (nginx): one, or two with `virtual_address`."
  type        = list(string)
  default     = ["10.0.0.100"]

  validation {
    condition     = contains([1, 2], length(var.load_balancers)) && alltrue([for a in var.load_balancers : can(cidrnetmask("${a}/32"))])
    error_message = "load_balancers: one or two IPv4 addresses."
  }
}

variable "web_nodes" {
  description = "Addresses of the web nodes. Add to its end to get more."
  type        = list(string)
  default     = ["10.0.0.111", "10.0.0.112"]

  validation {
    condition     = length(var.web_nodes) >= 1 && alltrue([for a in var.web_nodes : can(cidrnetmask("${a}/32"))])
    error_message = "web_nodes: at least one IPv4 address."
  }
  validation {
    condition = length(distinct(concat(var.load_balancers, var.web_nodes, [var.redis, var.postgres], compact([var.load_tester])))) == (
      length(var.load_balancers) + length(var.web_nodes) + 2 + length(compact([var.load_tester]))
    )
    error_message = "Two machines have the same address: every role needs a machine of its own."
  }
}

variable "redis" {
  description = "Address of the machine for Redis."
  type        = string
  default     = "10.0.0.130"

  validation {
    condition     = can(cidrnetmask("${var.redis}/32"))
    error_message = "redis: an IPv4 address."
  }
}

variable "postgres" {
  description = "Address of the machine for Postgres."
  type        = string
  default     = "10.0.0.200"

  validation {
    condition     = can(cidrnetmask("${var.postgres}/32"))
    error_message = "postgres: an IPv4 address."
  }
}

variable "load_tester" {
  description = "Address of the load tester (k6); empty: none."
  type        = string
  default     = "10.0.0.160"

  validation {
    condition     = var.load_tester == "" || can(cidrnetmask("${var.load_tester}/32"))
    error_message = "load_tester: an IPv4 address, or empty."
  }
}

variable "instances" {
  description = "For machines that were installed anew behind the same address: a text by name (\"web-1\") that was not there before. The machine is then set up again, and its new key is believed."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.instances) : can(regex("^(lb-[12]|web-[0-9]+|redis|postgres|load-tester)$", name))])
    error_message = "instances: names are lb-1, web-1, web-2, …, redis, postgres and load-tester."
  }
}

variable "virtual_address" {
  description = "An address that both load balancers share (keepalived), with its prefix length: \"10.0.0.99/24\". Empty: none."
  type        = string
  default     = ""

  validation {
    condition     = var.virtual_address == "" || (can(cidrhost(var.virtual_address, 0)) && length(var.load_balancers) == 2)
    error_message = "virtual_address: an address with its prefix length, and two load_balancers to share it."
  }
}

# --- How they are logged in to --------------------------------------------------------------------------------------

variable "ssh_user" {
  description = "Who logs in: root, or somebody with sudo and no password."
  type        = string
  default     = "debian"
}

variable "ssh_port" {
  description = "Port of the machines' SSH servers."
  type        = number
  default     = 22

  validation {
    condition     = var.ssh_port >= 1 && var.ssh_port <= 65535 && floor(var.ssh_port) == var.ssh_port
    error_message = "ssh_port: 1 to 65535."
  }
}

variable "ssh_private_key_file" {
  description = "Key file; empty: what your SSH agent and configuration offer."
  type        = string
  default     = ""

  validation {
    condition     = var.ssh_private_key_file == "" ? true : fileexists(var.ssh_private_key_file)
    error_message = "ssh_private_key_file: there is no such file."
  }
}

variable "ssh_command" {
  description = "The program, perhaps with options of it, such as \"ssh -F homelab.conf\"."
  type        = string
  default     = "ssh"
}

variable "ssh_wait_seconds" {
  description = "How long a machine may take until it answers."
  type        = number
  default     = 60
}

variable "known_hosts_file" {
  description = "Where the machines' keys are remembered: keep it beside the state."
  type        = string
  default     = "known_hosts"
}

# --- What they serve ------------------------------------------------------------------------------------------------

variable "binary" {
  description = "The program, made by `make release-binary`."
  type        = string
  default     = "../../dist/shunt"

  validation {
    condition     = fileexists(var.binary)
    error_message = "binary: there is no such file. `make release-binary` makes it, as dist/shunt."
  }
}

variable "k6_binary" {
  description = "A k6 binary for the load tester; empty: from k6's package repository."
  type        = string
  default     = ""

  validation {
    condition     = var.k6_binary == "" ? true : fileexists(var.k6_binary)
    error_message = "k6_binary: there is no such file."
  }
}

variable "quota" {
  description = "Requests that a client may make in any window of so many seconds."
  type = object({
    limit          = number
    window_seconds = number
  })
  default = { limit = 10, window_seconds = 60 }

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

  validation {
    condition     = var.public_url == "" || can(regex("^https?://[^/?#\\s]+(/[^?#\\s]*)?$", var.public_url))
    error_message = "public_url: http:// or https://, a host, perhaps a path."
  }
}

variable "web_settings" {
  description = "Further keys of the program's configuration, such as \"cache.ttl\" = \"30s\". Not for secrets."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.web_settings) : can(regex("^[a-z0-9_]+(\\.[a-z0-9_]+)+$", key))])
    error_message = "web_settings: keys are written as in docs/configuration.md, such as \"cache.ttl\"."
  }
}

variable "web_memory_max" {
  description = "The most memory that the program may take on a web node, as systemd writes it."
  type        = string
  default     = "512M"

  validation {
    condition     = can(regex("^[1-9][0-9]*[MG]$", var.web_memory_max))
    error_message = "web_memory_max: such as 512M or 2G."
  }
}

variable "drained_web_nodes" {
  description = "Names of web nodes that get no requests, such as one that is about to be removed."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for name in var.drained_web_nodes : contains([for n in range(length(var.web_nodes)) : "web-${n + 1}"], name)]) && length(var.drained_web_nodes) < length(var.web_nodes)
    error_message = "drained_web_nodes: names of web nodes (web-1, …), and not all of them."
  }
}

variable "redis_max_memory" {
  description = "Redis's memory cap, such as \"512mb\"; empty: 256 MB, as docker/redis.conf says."
  type        = string
  default     = ""

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
  default = { time = "03:15", keep = 14 }

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

  validation {
    condition     = length(var.admin_networks) > 0 && alltrue([for n in var.admin_networks : can(cidrhost(n, 0))])
    error_message = "admin_networks: at least one network, such as 192.168.1.0/24."
  }
}

variable "monitoring_networks" {
  description = "Networks that may read the web nodes' metrics and probes on port 9180; without any, these listen on loopback only."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for n in var.monitoring_networks : can(cidrhost(n, 0))])
    error_message = "monitoring_networks: networks, such as 192.168.1.0/24."
  }
}

variable "connections_per_client" {
  description = "The most connections that one client (an IPv4 address or an IPv6 /64) may have to a load balancer, by its firewall; 0: as many as it likes, as behind Cloudflare or another balancer, which is one client."
  type        = number
  default     = 512

  validation {
    condition     = var.connections_per_client >= 0 && var.connections_per_client <= 1000000 && floor(var.connections_per_client) == var.connections_per_client
    error_message = "connections_per_client: a whole number to 1,000,000; 0 is off."
  }
}

variable "automatic_upgrades" {
  description = "Whether machines install security upgrades by themselves."
  type        = bool
  default     = true
}

# --- Secrets --------------------------------------------------------------------------------------------------------

variable "postgres_password" {
  description = "Password of the service's user in Postgres; null: a random one. Letters, digits, - and _."
  type        = string
  default     = null
  sensitive   = true
}

variable "redis_password" {
  description = "Password of the service's user in Redis; null: a random one. Letters, digits, - and _."
  type        = string
  default     = null
  sensitive   = true
}

variable "tls" {
  description = "Certificate chain and private key (PEM) for the load balancers; null: plain HTTP."
  type = object({
    certificate = string
    private_key = string
  })
  default   = null
  sensitive = true
}
