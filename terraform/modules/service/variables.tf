variable "machines" {
  description = "Every machine by name. `instance` is anything that changes when the name stands for another machine, such as a VM's id."
  type = map(object({
    address  = string
    role     = string
    instance = string
  }))
  nullable = false

  validation {
    condition = alltrue([
      for machine in values(var.machines) :
      contains(["load-balancer", "web", "redis", "postgres", "load-tester"], machine.role)
    ])
    error_message = "A role is load-balancer, web, redis, postgres or load-tester."
  }
  validation {
    condition = alltrue([
      for role in ["redis", "postgres"] :
      length([for machine in values(var.machines) : machine if machine.role == role]) == 1
    ])
    error_message = "There has to be exactly one machine with the role redis, and one with the role postgres."
  }
  validation {
    condition     = anytrue([for machine in values(var.machines) : machine.role == "web"])
    error_message = "There has to be at least one web node."
  }
  validation {
    condition     = length(distinct([for machine in values(var.machines) : machine.address])) == length(var.machines)
    error_message = "Two machines have the same address."
  }
}

variable "repository" {
  description = "Where the repository is: the roles take nginx's, Redis's and k6's files from it."
  type        = string
}

variable "ssh" {
  description = "How machines are logged in to. `command` is the program and perhaps options of it (`ssh -F file`); without a key file its agent and configuration decide. `wait_seconds`: how long a machine may take until it answers."
  type = object({
    user             = string
    port             = optional(number, 22)
    private_key_file = optional(string, "")
    command          = optional(string, "ssh")
    wait_seconds     = optional(number, 300)
  })
}

variable "known_hosts_file" {
  description = "Where the keys of machines are remembered. A machine is believed the first time; from then on it has to have the same key."
  type        = string
}

variable "postgres_password" {
  description = "Password of the service's own user in Postgres."
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{12,128}$", var.postgres_password))
    error_message = "A password has 12 to 128 letters, digits, - and _: it becomes part of URLs and of configuration files."
  }
}

variable "redis_password" {
  description = "Password of the service's own user in Redis."
  type        = string
  sensitive   = true

  validation {
    condition     = can(regex("^[A-Za-z0-9_-]{12,128}$", var.redis_password))
    error_message = "A password has 12 to 128 letters, digits, - and _: it becomes part of URLs and of configuration files."
  }
}

variable "binary" {
  description = "The program, made by `make release-binary`."
  type        = string
}

variable "k6_binary" {
  description = "A k6 binary for the load tester; empty: from its package repository."
  type        = string
  default     = ""
}

variable "quota" {
  description = "Requests that a client may make in any window of so many seconds."
  type = object({
    limit          = number
    window_seconds = number
  })
}

variable "public_url" {
  description = "What short links begin with; empty: the scheme and host of the request."
  type        = string
  default     = ""
}

variable "web_settings" {
  description = "Further keys of the program's configuration, such as \"cache.ttl\" = \"30s\". Not for secrets."
  type        = map(string)
  default     = {}
}

variable "web_memory_max" {
  description = "The most memory that the program may take on a web node, as systemd writes it."
  type        = string
  default     = "512M"
}

variable "drained_web_nodes" {
  description = "Names of web nodes that get no requests, such as one that is about to be removed."
  type        = set(string)
  default     = []
}

variable "admin_networks" {
  description = "Networks that may log in by SSH."
  type        = list(string)
  default     = ["0.0.0.0/0", "::/0"]
}

variable "monitoring_networks" {
  description = "Networks that may read the web nodes' metrics and probes; without any, these listen on loopback only."
  type        = list(string)
  default     = []
}

variable "virtual_address" {
  description = "An address that two load balancers share, with its prefix length: \"10.0.0.99/24\". Empty: none."
  type        = string
  default     = ""
}

variable "connections_per_client" {
  description = "The most connections that one client may have to a load balancer, by its firewall; 0: as many as it likes."
  type        = number
  default     = 512
}

variable "tls" {
  description = "Certificate chain and private key (PEM) of the load balancers; null: plain HTTP."
  type = object({
    certificate = string
    private_key = string
  })
  default   = null
  sensitive = true
}

variable "automatic_upgrades" {
  description = "Whether machines install security upgrades by themselves."
  type        = bool
  default     = true
}

variable "guest_agent" {
  description = "Whether machines are QEMU guests whose host shuts them down through the guest agent."
  type        = bool
  default     = false
}

variable "backup" {
  description = "When the database is dumped each day, and how many dumps are kept."
  type = object({
    time = string
    keep = number
  })
  default = { time = "03:15", keep = 14 }
}

variable "redis_max_memory" {
  description = "Redis's memory cap, such as \"512mb\"; empty: that of docker/redis.conf."
  type        = string
  default     = ""
}

variable "enabled" {
  description = "Whether machines are set up at all."
  type        = bool
  default     = true
}
