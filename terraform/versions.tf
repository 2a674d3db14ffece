terraform {
  # 1.10: an ephemeral variable for the API token. (1.9 would do for validations that read other variables.)
  required_version = ">= 1.10"

  # There is no .terraform.lock.hcl in the repository: it would hold the hashes of the registry's builds, which are
  # not those of the ones that `make tools` builds for the checks. `terraform init` writes yours; keep it with your state.
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
