# Proxmox VE, and how machines are logged in to. The machines are in variables_machines.tf, and what they serve in
# variables_service.tf.

# --- Proxmox VE -----------------------------------------------------------------------------------------------------

variable "endpoint" {
  description = "Where Proxmox VE's API is, such as \"https://192.168.1.10:8006/\"."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https://[^/?#@\\s]+/?$", var.endpoint))
    error_message = "endpoint: https://, a host, its port and nothing else, such as https://192.168.1.10:8006/."
  }
}

variable "api_token" {
  description = "API token, user@realm!name=secret. It gets into no plan and no state; so a saved plan needs it again when it is applied."
  type        = string
  nullable    = false
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = can(regex("^[^@!=\\s]+@[A-Za-z0-9._-]+![A-Za-z][A-Za-z0-9._-]+=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.api_token))
    error_message = "api_token: user@realm!name=secret, with the secret as `pveum user token add` prints it (a UUID)."
  }
}

variable "insecure" {
  description = "Whether to talk to an API whose TLS certificate cannot be verified, such as the one that Proxmox VE makes for itself."
  type        = bool
  default     = false
  nullable    = false
}

variable "node_name" {
  description = "The Proxmox VE node that runs the machines."
  type        = string
  default     = "pve"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", var.node_name))
    error_message = "node_name: letters, digits and hyphens, as the web interface shows it."
  }
}

variable "pool" {
  description = "Resource pool that is made for the machines, so that rights can be given on all of them."
  type        = string
  default     = "shunt"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*$", var.pool))
    error_message = "pool: letters, digits, and . _ - after the first."
  }
}

variable "datastores" {
  description = "Storage of the downloaded image, where \"Import\" has to be enabled, and of the machines' disks."
  type = object({
    image = optional(string, "local")
    disks = optional(string, "local-lvm")
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in values(var.datastores) : can(regex("^[A-Za-z][A-Za-z0-9._-]*[A-Za-z0-9]$", name))])
    error_message = "datastores: names of storages, as under Datacenter > Storage."
  }
}

variable "image" {
  description = "Debian 12's cloud image, dated so that it stays the same, and the SHA-512 of that file from SHA512SUMS beside it. Another one is for machines that are made from then on."
  type = object({
    url    = optional(string, "https://cloud.debian.org/images/cloud/bookworm/20260903-2590/debian-12-generic-amd64-20260903-2590.qcow2")
    sha512 = string
  })
  nullable = false

  validation {
    condition     = can(regex("^https?://[^\\s?#]+/[A-Za-z0-9][A-Za-z0-9._-]*\\.qcow2$", var.image.url))
    error_message = "image: the URL of a .qcow2 file."
  }
  validation {
    condition     = !can(regex("/latest/", var.image.url))
    error_message = "image: a dated URL. What is behind .../latest/... changes, and its checksum with it."
  }
  validation {
    condition     = can(regex("^[0-9a-f]{128}$", var.image.sha512))
    error_message = "image: sha512 is 128 hexadecimal digits, from SHA512SUMS beside the image."
  }
}

# --- Logging in -----------------------------------------------------------------------------------------------------

variable "ssh_public_keys" {
  description = "Public keys that may log in. Only for machines that are made from then on."
  type        = list(string)
  nullable    = false

  validation {
    condition = length(var.ssh_public_keys) > 0 && alltrue([
      for key in var.ssh_public_keys :
      can(regex("^(ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\\.com) [A-Za-z0-9+/]{60,}={0,2}( [^\\r\\n]*)?$", key))
    ])
    error_message = "ssh_public_keys: at least one, each the line of a .pub file, such as \"ssh-ed25519 AAAA… you@home\"."
  }
}

variable "ssh_user" {
  description = "Who logs in: cloud-init makes this user, with sudo. Only for machines that are made from then on."
  type        = string
  default     = "debian"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]{0,31}$", var.ssh_user)) && var.ssh_user != "root"
    error_message = "ssh_user: a name of lower-case letters, digits, _ and -; not root, whom the image does not let in."
  }
}

variable "ssh_private_key_file" {
  description = "Key file; empty: what your SSH agent and configuration offer."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.ssh_private_key_file == "" || try(fileexists(var.ssh_private_key_file), false)
    error_message = "ssh_private_key_file: there is no such file."
  }
}

variable "ssh_command" {
  description = "The program, perhaps with options of it, such as \"ssh -F homelab.conf\"."
  type        = string
  default     = "ssh"
  nullable    = false
}

variable "ssh_wait_seconds" {
  description = "How long a machine may take until it answers. The first boot upgrades Debian's packages, which takes minutes."
  type        = number
  default     = 900
  nullable    = false

  validation {
    condition     = var.ssh_wait_seconds >= 1 && floor(var.ssh_wait_seconds) == var.ssh_wait_seconds
    error_message = "ssh_wait_seconds: a whole number, at least 1."
  }
}

variable "known_hosts_file" {
  description = "Where the machines' keys are remembered: keep it beside the state."
  type        = string
  default     = "known_hosts"
  nullable    = false
}
