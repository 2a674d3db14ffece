# Roles, secrets and releases, on any machines that SSH reaches.
#
# Each step is a terraform_data. Its `triggers_replace` holds hashes of what the step depends on: files, settings,
# secrets and the machine itself. So a change of a role's files sets the role up again, and never replaces the machine.
# A step that fails is tainted, and the next apply does it again.

terraform {
  required_version = ">= 1.9"
}

locals {
  scripts = abspath("${path.module}/../../scripts")

  by_role = {
    for role in ["load-balancer", "web", "redis", "postgres", "load-tester"] :
    role => { for name, machine in var.machines : name => machine if machine.role == role }
  }
  addresses = { for role, machines in local.by_role : role => [for name in sort(keys(machines)) : machines[name].address] }

  # The files that a role's machines get; `set-up` collects the same ones.
  role_files = {
    for role in keys(local.by_role) : role => sort(flatten([
      for pattern in concat(
        ["terraform/roles/base/**", "terraform/roles/${role}/**"],
        role == "load-balancer" ? ["nginx/*.conf"] : [],
        role == "redis" ? ["docker/redis.conf"] : [],
        role == "load-tester" ? ["load-testing/*.js", "load-testing/lib/*.js"] : [],
      ) : tolist(fileset(var.repository, pattern))
    ]))
  }
  role_hash = {
    for role, files in local.role_files :
    role => sha256(jsonencode([for file in files : [file, filesha256("${var.repository}/${file}")]]))
  }

  has_tls = nonsensitive(var.tls != null)

  # /etc/shunt/secrets.env of each machine, with no more than its role needs.
  secrets = {
    postgres = "POSTGRES_PASSWORD='${var.postgres_password}'\n"
    redis    = "REDIS_PASSWORD='${var.redis_password}'\n"
    web      = "POSTGRES_PASSWORD='${var.postgres_password}'\nREDIS_PASSWORD='${var.redis_password}'\n"
  }
  tls = {
    certificate = try(var.tls.certificate, "")
    private_key = try(var.tls.private_key, "")
  }
  with_secrets = {
    for name, machine in var.machines : name => machine
    if contains(keys(local.secrets), machine.role) || (machine.role == "load-balancer" && local.has_tls)
  }
  # That they changed is no secret.
  secrets_hash = {
    for name, machine in var.machines : name => nonsensitive(sha256(jsonencode([
      lookup(local.secrets, machine.role, ""), machine.role == "load-balancer" ? local.tls : null,
    ])))
  }

  # Arguments of every script.
  ssh = {
    SSH_COMMAND     = var.ssh.command
    SSH_USER        = var.ssh.user
    SSH_PORT        = tostring(var.ssh.port)
    SSH_KEY         = var.ssh.private_key_file
    SSH_KNOWN_HOSTS = abspath(var.known_hosts_file)
    SSH_WAIT        = tostring(var.ssh.wait_seconds)
  }
  # A machine's key is remembered under its name and its instance: a machine that was made anew has another key.
  host = {
    for name, machine in var.machines :
    name => "${name}=${machine.address}=${substr(sha256(machine.instance), 0, 12)}"
  }

  # Sets a machine up as its role says.
  k6 = { for name in keys(local.by_role["load-tester"]) : name => abspath(var.k6_binary) if var.k6_binary != "" }
  set_up = {
    for name, machine in var.machines : name => merge(local.ssh, {
      SCRIPTS    = local.scripts
      HOST       = local.host[name]
      REPOSITORY = abspath(var.repository)
      ROLE       = machine.role
      SETTINGS   = local.settings[name]
      K6         = lookup(local.k6, name, "")
    })
  }
  set_up_triggers = {
    for name, machine in var.machines : name => {
      instance = machine.instance
      files    = local.role_hash[machine.role]
      settings = sha256(local.settings[name])
      secrets  = local.secrets_hash[name]
      k6       = contains(keys(local.k6), name) ? filesha256(local.k6[name]) : ""
    }
  }

  before_load_balancers = { for name, machine in var.machines : name => machine if machine.role != "load-balancer" }
}

resource "terraform_data" "secrets" {
  for_each = var.enabled ? local.with_secrets : {}

  triggers_replace = {
    instance = each.value.instance
    secrets  = local.secrets_hash[each.key]
  }

  # A step apart from `role`, because Terraform hides the output of a step with a secret.
  provisioner "local-exec" {
    command = "\"$SCRIPTS/put-secrets\" \"$HOST\""
    environment = merge(local.ssh, {
      SCRIPTS         = local.scripts
      HOST            = local.host[each.key]
      SECRETS         = lookup(local.secrets, each.value.role, "")
      TLS_CERTIFICATE = each.value.role == "load-balancer" ? local.tls.certificate : ""
      TLS_PRIVATE_KEY = each.value.role == "load-balancer" ? local.tls.private_key : ""
    })
  }
}

resource "terraform_data" "role" {
  for_each = var.enabled ? local.before_load_balancers : {}

  triggers_replace = local.set_up_triggers[each.key]

  provisioner "local-exec" {
    command     = "\"$SCRIPTS/set-up\" \"$HOST\""
    environment = local.set_up[each.key]
  }

  depends_on = [terraform_data.secrets]
}

# One step for all web nodes, because it goes from one to the next.
resource "terraform_data" "release" {
  count = var.enabled ? 1 : 0

  triggers_replace = {
    binary = filesha256(var.binary)
    nodes  = { for name in keys(local.by_role["web"]) : name => local.set_up_triggers[name] }
  }

  provisioner "local-exec" {
    command = "\"$SCRIPTS/roll-out\" \"$BINARY\" $HOSTS"
    environment = merge(local.ssh, {
      SCRIPTS = local.scripts
      BINARY  = abspath(var.binary)
      HOSTS   = join(" ", [for name in sort(keys(local.by_role["web"])) : local.host[name]])
    })
  }

  # Postgres and Redis too: a node is ready when it has both.
  depends_on = [terraform_data.role]
}

# After the release: a new web node gets no request before it is ready.
resource "terraform_data" "load_balancer" {
  for_each = var.enabled ? local.by_role["load-balancer"] : {}

  triggers_replace = local.set_up_triggers[each.key]

  provisioner "local-exec" {
    command     = "\"$SCRIPTS/set-up\" \"$HOST\""
    environment = local.set_up[each.key]
  }

  depends_on = [terraform_data.secrets, terraform_data.release]
}
