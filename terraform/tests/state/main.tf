# Makes a state from a plan of the real provider, as if the plan had been applied to a real Proxmox VE. With this state,
# the provider can plan a change without a server. See scripts/terraform-check.

variable "plan_file" {
  description = "A plan as `terraform show -json` prints it."
  type        = string
}

locals {
  planned = jsondecode(file(var.plan_file)).planned_values.root_module
  machines = {
    for module in local.planned.child_modules : module.address => module.resources[0]
    if module.resources[0].type == "proxmox_virtual_environment_vm"
  }
  others = { for resource in local.planned.resources : resource.type => resource if startswith(resource.type, "proxmox_") }

  # Values that a plan does not know, because Proxmox VE chooses them.
  made_up = {
    proxmox_download_file = {
      id   = "local:import/${local.others.proxmox_download_file.values.file_name}"
      size = 350000000
    }
    proxmox_virtual_environment_pool = {
      id      = local.others.proxmox_virtual_environment_pool.values.pool_id
      members = []
    }
  }

  resources = concat(
    [
      for type, resource in local.others : {
        mode      = "managed"
        type      = type
        name      = resource.name
        provider  = "provider[\"${resource.provider_name}\"]"
        instances = [{ schema_version = resource.schema_version, attributes = merge(resource.values, local.made_up[type]) }]
      }
    ],
    [
      for address, resource in local.machines : {
        module   = address
        mode     = "managed"
        type     = resource.type
        name     = resource.name
        provider = "provider[\"${resource.provider_name}\"]"
        instances = [{
          schema_version = resource.schema_version
          # The password that cloud-init does not get: for Terraform, a value that becomes a secret is a change.
          sensitive_attributes = [[
            { type = "get_attr", value = "initialization" }, { type = "index", value = { type = "number", value = 0 } },
            { type = "get_attr", value = "user_account" }, { type = "index", value = { type = "number", value = 0 } },
            { type = "get_attr", value = "password" },
          ]]
          attributes = merge(resource.values, {
            id         = tostring(resource.values.vm_id)
            boot_order = ["scsi0"]
            hotplug    = "network,disk,usb"
            disk = [merge(resource.values.disk[0], {
              import_from       = "local:import/an-older-image.qcow2"
              file_format       = "raw"
              path_in_datastore = "vm-${resource.values.vm_id}-disk-0"
            })]
            network_device = [merge(resource.values.network_device[0], {
              mac_address = format("BC:24:11:00:00:%02X", index(keys(local.machines), address))
            })]
            mac_addresses           = []
            ipv4_addresses          = []
            ipv6_addresses          = []
            network_interface_names = []
          })
        }]
      }
    ],
  )
}

output "state" {
  description = "A state file's content."
  value = jsonencode({
    version           = 4
    terraform_version = "1.10.0"
    serial            = 1
    lineage           = "00000000-0000-0000-0000-000000000000"
    outputs           = {}
    resources         = local.resources
  })
}
