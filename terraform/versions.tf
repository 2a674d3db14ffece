terraform {
  # 1.10: an ephemeral variable for the API token. (1.9 would do for validations that read other variables.)
  required_version = ">= 1.10"

  # The repository has no .terraform.lock.hcl: it would hold the hashes of the registry's builds, which differ from
  # those that `make tools` builds for the checks. `terraform init` writes yours; keep it with your state.
  required_providers {
    proxmox = {
      source  = "bpg/proxmox"
      version = "~> 0.111.1"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.7"
    }
  }
}
