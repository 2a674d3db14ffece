# One Debian virtual machine, whatever its role: roles differ in the values given here, and in what is installed by SSH
# afterwards. So a change to a role never touches the machine.

terraform {
  required_providers {
    proxmox = {
      source = "bpg/proxmox"
    }
  }
}

resource "proxmox_virtual_environment_vm" "this" {
  name        = var.name
  vm_id       = var.vm_id
  node_name   = var.node_name
  pool_id     = var.pool
  description = var.description
  protection  = var.protection
  on_boot     = true

  # Proxmox VE keeps tags sorted and in lower case; any others would be a change in every plan.
  tags = sort(distinct([for tag in var.tags : lower(tag)]))

  # With it the provider shuts a machine down that is removed or restarted; without it, it would cut the power. Roles install
  # the guest's side (roles/base). The image comes without, so nothing waits for the agent's answer: the provider would do so
  # for 15 minutes, at each create and each refresh.
  agent {
    enabled = true

    wait_for_ip {
      disabled = true
    }
  }

  # A web node finishes its requests, and Postgres writes what it has. A machine that takes longer, or has no agent yet, is
  # stopped. (The provider's default is to wait for half an hour.)
  stop_on_destroy     = false
  timeout_shutdown_vm = 120

  # False: a change of cores, memory or address waits until you restart the machine, and the apply says so. The provider
  # would stop and start every machine of a role at the same time.
  reboot_after_update = var.reboot_after_update

  startup {
    order = tostring(var.startup_order)
  }

  cpu {
    cores = var.size.cores
    # The provider's default, qemu64, lacks instructions that even old machines have.
    type = var.cpu_type
  }

  memory {
    dedicated = var.size.memory
  }

  operating_system {
    type = "l26"
  }

  # Debian 12's cloud image panics without one, when its disk is larger than the image.
  serial_device {}

  scsi_hardware = "virtio-scsi-single"

  disk {
    interface    = "scsi0"
    datastore_id = var.datastore
    import_from  = var.image
    size         = var.size.disk
    iothread     = true
    # So that what the guest frees is free on thin storage (local-lvm) too.
    discard = "on"
  }

  network_device {
    bridge  = var.network.bridge
    vlan_id = var.network.vlan_id
  }

  # Proxmox VE's own cloud-init settings, not a snippet (`user_data_file_id`): uploading one needs SSH to the host, and a
  # changed one replaces the machine.
  initialization {
    datastore_id = var.datastore

    ip_config {
      ipv4 {
        address = var.network.address
        gateway = var.network.gateway
      }
    }

    dynamic "dns" {
      for_each = length(var.network.dns) > 0 ? [var.network.dns] : []
      content {
        servers = dns.value
      }
    }

    user_account {
      username = var.user.name
      keys     = var.user.keys
    }
  }

  lifecycle {
    precondition {
      condition     = length(var.taken_by) == 0
      error_message = "VM id ${var.vm_id}, for ${var.name}, is taken by ${join(" and ", var.taken_by)}, which is not ours: it is not in the pool ${var.pool}, or does not have its role's tag. Choose other ids, with vm_id_base or vm_ids. If it is ours, give it both back."
    }

    ignore_changes = [
      # Read when the disk is made and never again. A newer image is for new machines: those that there are get their
      # upgrades from Debian. (The provider replaces no machine for it, but would show a change.)
      disk[0].import_from,
      # cloud-init takes these once. When they change, Proxmox VE gives the guest a new instance id, with which cloud-init
      # makes new SSH host keys at the next boot: what looks like another machine would be refused. Keys are added and
      # removed in the guest's ~/.ssh/authorized_keys.
      name,
      initialization[0].user_account,
      initialization[0].dns,
    ]
  }
}
