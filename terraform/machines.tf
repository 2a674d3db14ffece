locals {
  # Names and roles depend on the counts only, so a change of a size or an address replaces no machine.
  roles = merge(
    { for i in range(var.load_balancer_count) : "lb-${i + 1}" => "load-balancer" },
    { for i in range(var.web_count) : "web-${i + 1}" => "web" },
    { redis = "redis", postgres = "postgres" },
    var.load_tester ? { load-tester = "load-tester" } : {},
  )

  # The web nodes come last, because there may be any number of them.
  vm_id_offsets = merge(
    { for i in range(var.load_balancer_count) : "lb-${i + 1}" => 1 + i },
    { redis = 10, postgres = 20 },
    var.load_tester ? { load-tester = 30 } : {},
    { for i in range(var.web_count) : "web-${i + 1}" => 101 + i },
  )

  vm_ids = { for name, offset in local.vm_id_offsets : name => lookup(var.vm_ids, name, var.vm_id_base + offset) }

  # Terraform cannot add to an address. This makes a number of it; cidrhost of 0.0.0.0/0 makes an address again.
  web_first     = sum([for i, part in split(".", var.web_first_address) : tonumber(part) * pow(256, 3 - i)])
  web_addresses = [for i in range(var.web_count) : cidrhost("0.0.0.0/0", local.web_first + i)]

  addresses = merge(
    { for i in range(var.load_balancer_count) : "lb-${i + 1}" => var.addresses.load_balancers[i] },
    { for i in range(var.web_count) : "web-${i + 1}" => local.web_addresses[i] },
    { redis = var.addresses.redis, postgres = var.addresses.postgres },
    var.load_tester ? { load-tester = var.addresses.load_tester } : {},
  )

  # What Proxmox VE needs to know of a role. The host first starts the machines that others wait for.
  machine_roles = {
    postgres      = { size = var.sizes.postgres, startup = 1, protection = var.protect_database }
    redis         = { size = var.sizes.redis, startup = 1, protection = false }
    web           = { size = var.sizes.web, startup = 2, protection = false }
    load-balancer = { size = var.sizes.load_balancer, startup = 3, protection = false }
    load-tester   = { size = var.sizes.load_tester, startup = 4, protection = false }
  }
}

resource "proxmox_virtual_environment_pool" "shunt" {
  pool_id = var.pool
  comment = "Shunt, made by Terraform"
}

resource "proxmox_download_file" "debian" {
  node_name          = var.node_name
  datastore_id       = var.datastores.image
  content_type       = "import"
  url                = var.image.url
  checksum           = var.image.sha512
  checksum_algorithm = "sha512"
  # A name of our own, because another service may have downloaded the same image. It contains the date of the URL, so
  # another image is another file.
  file_name = "${var.pool}-${basename(var.image.url)}"
  # A dated image never changes. With `true`, each plan would ask Debian for its size.
  overwrite = false
  # A file of this name that is not in the state comes from an apply that was interrupted. It is downloaded again.
  overwrite_unmanaged = true
}

# Machines that have an id of ours and are not ours. The provider would take such a machine for its own: it asks Proxmox
# VE to make the machine, gets "already exists", asks again, and takes the answer for its own success. It would then
# give that machine our settings, start it, and delete it with `destroy`.
#
# A machine is ours if it is in our pool, which this configuration makes, and has its role's tag. The tag alone is not
# enough: another Shunt in the same cluster has the same tags, and the same ids unless told otherwise.
data "proxmox_virtual_environment_vms" "all" {}

# Containers have ids of the same range.
data "proxmox_virtual_environment_containers" "all" {}

data "proxmox_virtual_environment_pools" "all" {}

# Before the first apply there is no pool, and asking for it would be an error.
data "proxmox_virtual_environment_pool" "ours" {
  for_each = toset([for id in data.proxmox_virtual_environment_pools.all.pool_ids : id if id == var.pool])
  pool_id  = each.key
}

locals {
  in_our_pool = flatten([
    for pool in data.proxmox_virtual_environment_pool.ours : [for member in pool.members : member.vm_id if member.type == "qemu"]
  ])
  taken_by = {
    for name, id in local.vm_ids : name => concat(
      [
        for vm in data.proxmox_virtual_environment_vms.all.vms : "the virtual machine \"${vm.name}\" on ${vm.node_name}"
        if vm.vm_id == id && !(contains(local.in_our_pool, id) && contains(coalesce(vm.tags, []), local.roles[name]))
      ],
      [
        for container in data.proxmox_virtual_environment_containers.all.containers : "the container \"${container.name}\" on ${container.node_name}"
        if container.vm_id == id
      ],
    )
  }
}

module "vm" {
  source   = "./modules/vm"
  for_each = local.roles

  name                = "${var.name_prefix}${each.key}"
  vm_id               = local.vm_ids[each.key]
  taken_by            = local.taken_by[each.key]
  node_name           = var.node_name
  pool                = proxmox_virtual_environment_pool.shunt.pool_id
  description         = "Shunt: ${each.value}. Made by Terraform; see terraform/README.md."
  tags                = setunion(var.tags, [each.value])
  size                = local.machine_roles[each.value].size
  cpu_type            = var.cpu_type
  startup_order       = local.machine_roles[each.value].startup
  protection          = local.machine_roles[each.value].protection
  reboot_after_update = var.allow_reboots
  datastore           = var.datastores.disks
  image               = proxmox_download_file.debian.id

  network = {
    bridge  = var.network.bridge
    vlan_id = var.network.vlan_id
    address = "${local.addresses[each.key]}/${split("/", var.network.cidr)[1]}"
    gateway = var.network.gateway
    dns     = var.network.dns
  }
  user = {
    name = var.ssh_user
    keys = var.ssh_public_keys
  }
}
