# shellcheck shell=bash disable=SC2154,SC2034 # variables of the other files beside this one
# Runs Terraform on a copy of the folders that terraform/existing-hosts needs, so that the checkout stays as it is. The
# only network is the guests', so a provider that Terraform had to download would fail here.

: "${SCRATCH:?}" "${BINARY:?}" "${K6:?}"

repository="$SCRATCH/repository"
module="$repository/terraform/existing-hosts"
# Further settings of the web nodes: they count the operator's requests like all others, under a policy that never
# refuses them.
operator_policy="{ \"limiter.policies.operator.quota\" = \"1000000/minute\", \"limiter.policies.operator.clients\" = \"$operator/32\" }"

copy_repository() {
    mkdir "$repository"
    cp -r terraform nginx docker load-testing "$repository/"
    rm -rf "$module"/{.terraform,terraform.tfstate*,terraform.tfvars,known_hosts}
    cat >"$module/terraform.tfvars" <<END
ssh_user             = "debian"
ssh_private_key_file = "$SCRATCH/key"
binary               = "$SCRATCH/shunt"
k6_binary            = "$K6"
web_settings         = $operator_policy
web_nodes            = ["${address_of[web-1]}", "${address_of[web-2]}"]
END
    set_release "$BINARY"
}

# set_release FILE: the next apply brings this program to the web nodes.
set_release() {
    install -m 0755 "$1" "$SCRATCH/shunt.new"
    mv "$SCRATCH/shunt.new" "$SCRATCH/shunt"
}

tf() {
    env -u TF_CLI_CONFIG_FILE TF_IN_AUTOMATION=1 TF_INPUT=0 CHECKPOINT_DISABLE=1 TF_CLI_ARGS=-no-color \
        terraform -chdir="$module" "$@"
}

# apply ARGUMENT...: applies, and sets apply_seconds.
apply() {
    local began=$SECONDS
    # `set -e` does not hold if the caller looks at the result.
    tf apply -auto-approve "$@" || return
    apply_seconds=$((SECONDS - began))
}

# plan_is_empty: a plan would change nothing.
plan_is_empty() {
    local status=0
    tf plan -detailed-exitcode || status=$?
    ((status == 0))
}

# set_variable NAME VALUE: a line of terraform.tfvars, in Terraform's language.
set_variable() {
    sed -i "/^$1 *=/d" "$module/terraform.tfvars"
    echo "$1 = $2" >>"$module/terraform.tfvars"
}

# set_web_nodes NAME...: the web nodes are these guests.
set_web_nodes() {
    local name list=()
    for name in "$@"; do
        list+=("\"${address_of[$name]}\"")
    done
    set_variable web_nodes "[$(IFS=,; echo "${list[*]}")]"
}

# running_program NAME: prints the checksum of the program that the service's process runs.
running_program() {
    # shellcheck disable=SC2016 # for the node's shell
    on "$1" bash -c 'sha256sum "/proc/$(systemctl show -P MainPID shunt)/exe" | cut -d" " -f1' </dev/null
}

# every_node_runs FILE NAME...: these web nodes run this program.
every_node_runs() {
    local name sum
    sum="$(sha256sum "$1" | cut -d' ' -f1)"
    shift
    for name in "$@"; do
        [[ "$(running_program "$name")" == "$sum" ]] || {
            echo "$name runs $(running_program "$name"), not $sum"
            return 1
        }
    done
}
