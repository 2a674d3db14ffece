# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# Units of systemd.

# The most that a unit's program may be exposed, by systemd's measure: 0 is safest, 10 most exposed.
most_exposed_service=1.5
most_exposed_backup=1.5

check 'systemd takes every unit' systemd_takes_units
systemd_takes_units() {
    need systemd-analyze
    collect_units
    local answer unit
    local units=("$scratch"/units/*.{service,timer})
    ((${#units[@]} >= 5))
    for unit in "${units[@]}"; do
        # systemd-analyze also complains about units of this machine, which are not the subject.
        answer="$(systemd-analyze verify --man=no "$unit" 2>&1 || true)"
        if grep -F "${unit##*/}" <<<"$answer"; then exit 1; fi
    done
    # The sum of the settings: 10 s drain, 30 s for requests, 10 s more.
    grep -x 'TimeoutStopSec=50' "$scratch/units/shunt.service"
    grep -x 'MemoryMax=1G' "$scratch/units/shunt.service"
    grep -x 'TimeoutStopSec=45' "$scratch/one_node/web-1/out/etc/shunt/shunt.service"
    # Without this the check would pass if systemd-analyze took any word.
    echo 'ProtectEverything=yes' >>"$scratch/units/shunt-backup.service"
    systemd-analyze verify --man=no "$scratch/units/shunt-backup.service" 2>&1 | grep ProtectEverything
}

# Copies the units, with /bin/true for their programs: `verify` looks for those, and they are not installed here.
collect_units() {
    local unit
    mkdir -p "$scratch/units"
    for unit in "$scratch"/five_nodes/web-1/out/etc/shunt/shunt.service \
        "$scratch"/five_nodes/{lb-1,postgres}/out/etc/systemd/system/*.{service,timer}; do
        sed 's|^\(ExecStart\(Pre\)\?\)=[+/].*|\1=/bin/true|' "$unit" >"$scratch/units/${unit##*/}"
    done
    if [[ -f /lib/systemd/system/redis-server.service ]]; then
        cp /lib/systemd/system/redis-server.service "$scratch/units"
        cp -r "$scratch/five_nodes/redis/out/etc/systemd/system/redis-server.service.d" "$scratch/units"
        sed -i 's|^ExecStartPre=+.*|ExecStartPre=/bin/true|' "$scratch/units/redis-server.service.d/shunt.conf"
    fi
}

check "shunt.service is exposed to $most_exposed_service at most" service_is_confined
service_is_confined() {
    exposure "$scratch/one_node/web-1/out/etc/shunt/shunt.service" "$most_exposed_service"
}

check "shunt-backup.service is exposed to $most_exposed_backup at most" backup_is_confined
backup_is_confined() {
    exposure "$scratch/one_node/postgres/out/etc/systemd/system/shunt-backup.service" "$most_exposed_backup"
}

# exposure UNIT MOST: the unit's exposure is MOST or less.
exposure() {
    need systemd-analyze
    systemd-analyze security --help | grep -e --offline >/dev/null || skip 'systemd-analyze is too old for this'
    local answer
    # systemd-analyze takes the threshold in tenths.
    answer="$(systemd-analyze security --no-pager --offline=true "--threshold=$(awk "BEGIN { print $2 * 10 }")" "$1")" \
        || { echo "$answer"; exit 1; }
    echo "figure: $(sed -n 's/.*Overall exposure level.*: \([0-9.]*\) .*/\1/p' <<<"$answer")"
}
