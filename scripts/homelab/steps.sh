# shellcheck shell=bash disable=SC2154,SC2034 # variables of the other files beside this one
# One function for each step of scripts/homelab/run. A step ends with `figure`, or early with `fail`.

step_boot() {
    local name began=$SECONDS names=(lb-1 web-1 web-2 redis postgres load-tester)
    for name in "${names[@]}"; do
        create_guest "$name"
        boot_guest "$name"
    done
    for name in "${names[@]}"; do
        within 60 "$name to boot" guest_is_up "$name"
        [[ "$(on "$name" systemctl is-system-running)" == running ]] || {
            on "$name" systemctl --failed
            fail "$name: a service failed at boot"
        }
    done
    (($(cat "$SCRATCH"/guests/*/root/etc/machine-id | sort -u | wc -l) == ${#names[@]})) \
        || fail "guests share a machine id"
    copy_repository
    figure "${#names[@]} guests in $((SECONDS - began)) s"
}
