# shellcheck shell=bash disable=SC2154,SC2034,SC2031,SC2317 # variables of the files that scripts/roles-check sources
# Upgrades of Postgres that were cut off.

check 'an upgrade of Postgres that was cut off loses no link' upgrade_loses_no_link
upgrade_loses_no_link() {
    local machine
    # The machine went down after everything was copied, and nothing was written since.
    upgrades 'Done: the links are in 17/main' 3 3 15/main:5433:down:manual 17/main:5432:down:manual
    list_is 15/main:5433:down 17/main:5432:online
    [[ "$(cat "$machine/state/cluster")" == 17/main && "$(cat "$machine/etc/17/main/start.conf")" == auto && ! -e "$machine/state/upgrading" ]]
    # A wrong copy is dropped.
    upgrades '15/main is as it was' 3 2 15/main:5433:down:manual 17/main:5432:down:manual
    list_is 15/main:5432:online
    # The new cluster came up by itself, and got a link.
    upgrades 'Decide by hand' 3 4 15/main:5433:down:manual 17/main:5432:online:auto
    list_is 15/main:5433:down 17/main:5432:down
    [[ "$(cat "$machine/etc/17/main/start.conf")" == manual ]]
    upgrades 'Decide by hand' 3 4 again
    list_is 15/main:5433:down 17/main:5432:down
    # What terraform/README.md says to do to keep the old cluster.
    rm "$machine/state/upgrading.open"
    upgrades '15/main is as it was' 3 4 again
    list_is 15/main:5432:online
    # The new cluster came up, and got no link.
    upgrades 'Done: the links are in 17/main' 3 3 15/main:5433:down:manual 17/main:5432:online:auto
    [[ ! -e "$machine/state/upgrading.open" ]]
    # Cut off when the configuration named the new cluster, and the role's note still the old one.
    upgrades 'Done: the links' 3 3 15/main:5433:down:manual 17/main:5432:down:manual
    echo '15/main 17/main' >"$machine/state/upgrading"
    echo 15/main >"$machine/state/cluster"
    upgrades 'Nothing to do' 3 3 again
    [[ "$(cat "$machine/state/cluster")" == 17/main && ! -e "$machine/state/upgrading" ]]
}

# upgrades EXPECTED LINKS_OLD LINKS_NEW CLUSTER...|again: runs shunt-postgres-upgrade from 15/main on a list of clusters
# (VERSION/NAME:PORT:STATUS:START) instead of the machine's, and expects these words. An earlier run was cut off after
# everything was copied, so this one copies nothing. `again` keeps the list of the last call.
upgrades() {
    local expected="$1" cluster name port status start answer
    local -A links=([15/main]="$2" [17/main]="$3")
    shift 3
    machine="$scratch/upgrade"
    if [[ "$1" != again ]]; then
        rm -rf "$machine"
        mkdir -p "$machine/state" "$machine/programs/17/bin" "$machine/scratch"
        touch "$machine/programs/17/bin/postgres" "$machine/list"
        echo "cluster='15/main'" >"$machine/shunt-backup.conf"
        echo 15/main >"$machine/state/cluster"
        echo '15/main 17/main' >"$machine/state/upgrading"
        for cluster in "$@"; do
            IFS=: read -r name port status start <<<"$cluster"
            mkdir -p "$machine/etc/$name/conf.d"
            echo "$start" >"$machine/etc/$name/start.conf"
            echo "${name%/*} ${name#*/} $port $status postgres /data /log" >>"$machine/list"
        done
        touch "$machine/etc/15/main/conf.d/shunt.conf"
    fi
    answer="$(
        # shellcheck source=/dev/null
        . <(sed '/^scratch="\$(mktemp/,$d' terraform/roles/postgres/shunt-postgres-upgrade)
        configuration="$machine/shunt-backup.conf" state="$machine/state" clusters="$machine/etc" data="$machine/data" programs="$machine/programs"
        dump="$PWD/terraform/roles/postgres/dump.sh" scratch="$machine/scratch" database=shunt owner=shunt
        field() { awk -v name="$1" -v field="$2" '$1 "/" $2 == name { print $field }' "$machine/list"; }
        # is CLUSTER STATUS: sets the status.
        is() { awk -v name="$1" -v status="$2" '$1 "/" $2 == name { $4 = status } { print }' "$machine/list" >"$machine/list.new" && mv "$machine/list.new" "$machine/list"; }
        set_port() { awk -v name="$1" -v port="$2" '$1 "/" $2 == name { $3 = port } { print }' "$machine/list" >"$machine/list.new" && mv "$machine/list.new" "$machine/list"; }
        start() { is "$1" online; }
        # If the machine booted at this moment, web nodes could reach the new cluster.
        start_alone() {
            if starts_by_itself 17/main; then echo 'counted while the new one would start with the machine' >&2; exit 3; fi
            is "$1" online
        }
        stop() { is "$1" down; }
        systemctl() { :; }
        runuser() { :; }
        pg_dropcluster() { sed -i "/^$1 $2 /d" "$machine/list"; }
        databases() { echo shunt; }
        sql_in() { cat >/dev/null; echo "${links[$1]} public.urls"; }
        # shellcheck source=/dev/null
        . "$configuration"
        old="$cluster"
        upgrade 2>&1
    )" || true
    echo "$answer"
    [[ "$answer" == *"$expected"* ]] || { echo "expected: $expected"; exit 1; }
}

# list_is CLUSTER:PORT:STATUS...: these clusters are in the list, and no other.
list_is() {
    diff <(printf '%s\n' "$@") <(awk '{ print $1 "/" $2 ":" $3 ":" $4 }' "$machine/list")
}
