# An API token and nothing else: no resource here needs SSH to the Proxmox host (cloud-init snippets would).
provider "proxmox" {
  endpoint  = var.endpoint
  api_token = var.api_token
  insecure  = var.insecure
}
