# The root module checks these values, because it can name its own variable that is wrong.

variable "name" {
  description = "Name in Proxmox VE, and the guest's hostname."
  type        = string
}

variable "vm_id" {
  description = "The VM's id; unique in the cluster. Another id is another VM."
  type        = number
}

variable "taken_by" {
  description = "What has that id already and is not this machine, in words; empty: nothing."
  type        = list(string)
  default     = []
}

variable "node_name" {
  description = "The Proxmox VE node that runs it."
  type        = string
}

variable "pool" {
  description = "Resource pool that it belongs to."
  type        = string
}

variable "description" {
  description = "Notes in Proxmox VE."
  type        = string
}

variable "tags" {
  description = "Tags in Proxmox VE, in any order and case."
  type        = set(string)
}

variable "size" {
  description = "Cores, memory in MiB, disk in GiB."
  type = object({
    cores  = number
    memory = number
    disk   = number
  })
}

variable "cpu_type" {
  description = "The CPU that the guest sees."
  type        = string
}

variable "startup_order" {
  description = "Its turn when the host starts, from 1; the host stops them in reverse."
  type        = number
}

variable "protection" {
  description = "Whether Proxmox VE refuses to remove it."
  type        = bool
}

variable "reboot_after_update" {
  description = "Whether Terraform may restart it for a change that needs it."
  type        = bool
}

variable "datastore" {
  description = "Storage of its disks."
  type        = string
}

variable "image" {
  description = "File id of the cloud image, as in local:import/debian.qcow2."
  type        = string
}

variable "network" {
  description = "Bridge, VLAN (null: none), its address with the prefix length, gateway, and DNS servers (empty: the host's)."
  type = object({
    bridge  = string
    vlan_id = number
    address = string
    gateway = string
    dns     = list(string)
  })
}

variable "user" {
  description = "Who logs in, and with which public keys."
  type = object({
    name = string
    keys = list(string)
  })
}
