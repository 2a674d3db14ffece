# One Debian virtual machine of any role. Roles differ in the values given here, and in what SSH installs afterwards, so
# a change of a role never replaces the machine.

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

  # Proxmox VE keeps tags sorted and in lower case. Other tags would be a change in every plan.
  tags = sort(distinct([for tag in var.tags : lower(tag)]))

  # With the agent, the provider shuts down a machine that it removes or restarts; without it, it would cut the power.
  # Roles install the guest's side (roles/base). The image comes without it, so the provider must not wait for the
  # agent: it would wait 15 minutes at each create and each refresh.
  agent {
    enabled = true

    wait_for_ip {
      disabled = true
    }
  }

  # Time for a web node to finish its requests, and for Postgres to write its data. A machine that takes longer, or has
  # no agent yet, is stopped. (The provider's default is half an hour.)
  stop_on_destroy     = false
  timeout_shutdown_vm = 120

  # False, so a change of cores, memory or address waits until you restart the machine, and the apply says so. The
  # provider would restart all machines of a role at the same time.
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

  # Without a serial device, Debian 12's cloud image panics if its disk is larger than the image.
  serial_device {}

  scsi_hardware = "virtio-scsi-single"

  disk {
    interface    = "scsi0"
    datastore_id = var.datastore
    import_from  = var.image
    size         = var.size.disk
    iothread     = true
    # So that space which the guest frees is free on thin storage (local-lvm).
    discard = "on"
  }

  network_device {
    bridge  = var.network.bridge
    vlan_id = var.network.vlan_id
  }

  # Proxmox VE's own cloud-init settings, not a snippet (`user_data_file_id`): uploading one needs SSH to the host, and
  # a changed one replaces the machine.
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
      # Read only when the disk is made. A newer image is for new machines; existing ones get their upgrades from
      # Debian. (The provider replaces no machine for it, but would show a change.)
      disk[0].import_from,
      # cloud-init reads these once. If they changed, Proxmox VE would give the guest a new instance id, cloud-init
      # would make new SSH host keys at the next boot, and SSH would refuse the machine. Add and remove keys in the
      # guest's ~/.ssh/authorized_keys.
      name,
      initialization[0].user_account,
      initialization[0].dns,
    ]
  }
}
