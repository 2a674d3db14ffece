# The network, and which machines there are in it.

# --- The network ----------------------------------------------------------------------------------------------------

variable "network" {
  description = "The network that the machines are in (IPv4), its gateway, the bridge and perhaps the VLAN, and DNS servers (empty: the host's; only for machines that are made from then on)."
  type = object({
    cidr    = optional(string, "10.0.0.0/24")
    gateway = optional(string, "10.0.0.1")
    bridge  = optional(string, "vmbr0")
    vlan_id = optional(number)
    dns     = optional(list(string), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = can(cidrnetmask(var.network.cidr)) && try(tonumber(split("/", var.network.cidr)[1]), 0) >= 8 && try(tonumber(split("/", var.network.cidr)[1]), 32) <= 29
    error_message = "network: cidr is an IPv4 network of /8 to /29, such as 10.0.0.0/24."
  }
  validation {
    condition = !can(cidrnetmask(var.network.cidr)) || try(
      cidrhost("${var.network.gateway}/${split("/", var.network.cidr)[1]}", 0) == cidrhost(var.network.cidr, 0)
      && !contains([cidrhost(var.network.cidr, 0), cidrhost(var.network.cidr, -1)], var.network.gateway), false
    )
    error_message = "network: the gateway ${var.network.gateway} is not an address of ${var.network.cidr}."
  }
  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_.-]{0,14}$", var.network.bridge))
    error_message = "network: bridge is the name of one, such as vmbr0."
  }
  validation {
    condition     = var.network.vlan_id == null || try(var.network.vlan_id >= 1 && var.network.vlan_id <= 4094 && floor(var.network.vlan_id) == var.network.vlan_id, false)
    error_message = "network: vlan_id is 1 to 4094, or left out."
  }
  validation {
    condition     = alltrue([for server in var.network.dns : can(cidrnetmask("${server}/32"))])
    error_message = "network: dns has IPv4 addresses."
  }
}

variable "web_first_address" {
  description = "Address of web-1; web-2 has the next one, and so on."
  type        = string
  default     = "10.0.0.111"
  nullable    = false

  validation {
    condition     = can(cidrnetmask("${var.web_first_address}/32"))
    error_message = "web_first_address: an IPv4 address."
  }
  # These make a number of an address, and an address of a number: a host of 0.0.0.0/0.
  validation {
    condition = !can(cidrnetmask("${var.web_first_address}/32")) || try(alltrue([
      for address in [
        var.web_first_address,
        cidrhost("0.0.0.0/0", sum([for i, part in split(".", var.web_first_address) : tonumber(part) * pow(256, 3 - i)]) + var.web_count - 1),
      ] :
      cidrhost("${address}/${split("/", var.network.cidr)[1]}", 0) == cidrhost(var.network.cidr, 0)
      && !contains([cidrhost(var.network.cidr, 0), cidrhost(var.network.cidr, -1)], address)
    ]), false)
    error_message = "web_first_address: ${var.network.cidr} does not contain the addresses of ${var.web_count} web nodes from ${var.web_first_address} on."
  }
}

variable "addresses" {
  description = "Addresses of the machines that are not web nodes."
  type = object({
    load_balancers = optional(list(string), ["10.0.0.100", "10.0.0.101"])
    redis          = optional(string, "10.0.0.130")
    load_tester    = optional(string, "10.0.0.160")
    postgres       = optional(string, "10.0.0.200")
  })
  default  = {}
  nullable = false

  validation {
    condition = alltrue([
      for address in concat(var.addresses.load_balancers, [var.addresses.redis, var.addresses.load_tester, var.addresses.postgres]) :
      can(cidrnetmask("${address}/32"))
    ])
    error_message = "addresses: IPv4 addresses, without a prefix length."
  }
  validation {
    condition     = length(var.addresses.load_balancers) >= var.load_balancer_count
    error_message = "addresses: load_balancers has fewer addresses than there are load balancers (${var.load_balancer_count})."
  }
  validation {
    condition = alltrue([
      for address in concat(
        slice(var.addresses.load_balancers, 0, min(var.load_balancer_count, length(var.addresses.load_balancers))),
        [var.addresses.redis, var.addresses.postgres], var.load_tester ? [var.addresses.load_tester] : [],
      ) :
      !can(cidrnetmask("${address}/32")) || try(
        cidrhost("${address}/${split("/", var.network.cidr)[1]}", 0) == cidrhost(var.network.cidr, 0)
        && !contains([cidrhost(var.network.cidr, 0), cidrhost(var.network.cidr, -1)], address), false
      )
    ])
    error_message = "addresses: one of them is not an address of a machine in ${var.network.cidr}."
  }
  validation {
    condition = alltrue([
      for all in [concat(
        [var.network.gateway], local.web_addresses,
        slice(var.addresses.load_balancers, 0, min(var.load_balancer_count, length(var.addresses.load_balancers))),
        [var.addresses.redis, var.addresses.postgres], var.load_tester ? [var.addresses.load_tester] : [],
      )] : length(distinct(all)) == length(all)
    ])
    error_message = "addresses: two machines have the same address, or one has the gateway's. Web nodes have ${join(", ", local.web_addresses)}; the gateway is ${var.network.gateway}."
  }
}

variable "virtual_address" {
  description = "An address that both load balancers share (keepalived), with its prefix length: \"10.0.0.99/24\". Empty: none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.virtual_address == "" || var.load_balancer_count == 2
    error_message = "virtual_address: two load balancers share it; set load_balancer_count = 2."
  }
  validation {
    condition = var.virtual_address == "" || try(
      split("/", var.virtual_address)[1] == split("/", var.network.cidr)[1]
      && cidrhost(var.virtual_address, 0) == cidrhost(var.network.cidr, 0)
      && !contains([cidrhost(var.network.cidr, 0), cidrhost(var.network.cidr, -1)], split("/", var.virtual_address)[0]), false
    )
    error_message = "virtual_address: an address of ${var.network.cidr}, with the same prefix length."
  }
  validation {
    condition     = !contains(concat([var.network.gateway], values(local.addresses)), split("/", var.virtual_address)[0])
    error_message = "virtual_address: a machine or the gateway has that address."
  }
}

# --- The machines ---------------------------------------------------------------------------------------------------

variable "web_count" {
  description = "How many web nodes."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.web_count >= 1 && floor(var.web_count) == var.web_count
    error_message = "web_count: a whole number, at least 1."
  }
}

variable "load_balancer_count" {
  description = "1, or 2 for one that takes over (with virtual_address)."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = contains([1, 2], var.load_balancer_count)
    error_message = "load_balancer_count: 1 or 2."
  }
}

variable "load_tester" {
  description = "Whether there is a machine with k6, to run the proof of the limit from."
  type        = bool
  default     = true
  nullable    = false
}

variable "vm_id_base" {
  description = "VM ids: lb-1 has this one plus 1, lb-2 plus 2, redis plus 10, postgres plus 20, load-tester plus 30, web-1 plus 101 and so on. Another id is another machine: with another base, everything is made anew."
  type        = number
  default     = 5000
  nullable    = false

  validation {
    condition     = var.vm_id_base >= 100 && var.vm_id_base <= 999000000 && floor(var.vm_id_base) == var.vm_id_base
    error_message = "vm_id_base: a whole number from 100 to 999,000,000."
  }
}

variable "vm_ids" {
  description = "Other VM ids for machines by name, such as { postgres = 200 }."
  type        = map(number)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.vm_ids) : can(regex("^(lb-[12]|web-[1-9][0-9]*|redis|postgres|load-tester)$", name))])
    error_message = "vm_ids: names are lb-1, lb-2, web-1, web-2, …, redis, postgres and load-tester."
  }
  validation {
    condition     = alltrue([for id in values(var.vm_ids) : id >= 100 && id <= 999999999 && floor(id) == id])
    error_message = "vm_ids: whole numbers from 100 to 999,999,999."
  }
  validation {
    condition = length(local.vm_id_offsets) == length(distinct([
      for name, offset in local.vm_id_offsets : lookup(var.vm_ids, name, var.vm_id_base + offset)
    ]))
    error_message = "vm_ids: two machines have the same id."
  }
}

variable "sizes" {
  description = "Cores, memory (MiB) and disk (GiB) by role. Disks can grow, not shrink. Cores and memory wait for a restart; see allow_reboots."
  type = object({
    load_balancer = optional(object({ cores = optional(number, 1), memory = optional(number, 1024), disk = optional(number, 8) }), {})
    web           = optional(object({ cores = optional(number, 2), memory = optional(number, 1024), disk = optional(number, 8) }), {})
    redis         = optional(object({ cores = optional(number, 1), memory = optional(number, 1024), disk = optional(number, 8) }), {})
    postgres      = optional(object({ cores = optional(number, 2), memory = optional(number, 2048), disk = optional(number, 20) }), {})
    load_tester   = optional(object({ cores = optional(number, 2), memory = optional(number, 1024), disk = optional(number, 8) }), {})
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for size in values(var.sizes) : size.cores >= 1 && size.cores <= 128 && floor(size.cores) == size.cores])
    error_message = "sizes: cores are 1 to 128."
  }
  validation {
    condition     = alltrue([for size in values(var.sizes) : size.memory >= 512 && size.memory <= 1048576 && floor(size.memory) == size.memory])
    error_message = "sizes: memory is in MiB, from 512 to 1,048,576."
  }
  validation {
    # Debian's image has 3 GiB.
    condition     = alltrue([for size in values(var.sizes) : size.disk >= 4 && size.disk <= 10240 && floor(size.disk) == size.disk])
    error_message = "sizes: disk is in GiB, from 4 to 10,240."
  }
}

variable "cpu_type" {
  description = "The CPU that guests see. The default can move between all hosts of the last fifteen years; \"host\" has all that yours can do."
  type        = string
  default     = "x86-64-v2-AES"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_-]*$", var.cpu_type))
    error_message = "cpu_type: the name of a CPU type, such as x86-64-v2-AES or host."
  }
}

variable "name_prefix" {
  description = "What names in Proxmox VE begin with. Only for machines that are made from then on."
  type        = string
  default     = "shunt-"
  nullable    = false

  validation {
    condition     = can(regex("^([a-z]([a-z0-9-]{0,40})?)?$", var.name_prefix))
    error_message = "name_prefix: lower-case letters, digits and hyphens, and a letter first; or empty."
  }
}

variable "tags" {
  description = "Tags in Proxmox VE, besides each machine's role."
  type        = set(string)
  default     = ["shunt"]
  nullable    = false

  validation {
    condition     = alltrue([for tag in var.tags : can(regex("^[A-Za-z0-9_][A-Za-z0-9_+.-]*$", tag))])
    error_message = "tags: letters, digits, and _ + . - after the first."
  }
}

variable "protect_database" {
  description = "Whether Proxmox VE refuses to remove the database's machine. To destroy it, apply with false first."
  type        = bool
  default     = true
  nullable    = false
}

variable "allow_reboots" {
  description = "Whether Terraform may restart machines when a change of size or address needs it: all of those at the same time, so the service is away meanwhile. Otherwise it says which to restart."
  type        = bool
  default     = false
  nullable    = false
}
