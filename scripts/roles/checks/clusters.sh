# shellcheck shell=bash disable=SC2154,SC2034,SC2031,SC2317 # variables of scripts/roles-check, which sources this; fakes are called from what it sources
# Checks of which cluster the postgres role takes for the service, and of what it leaves alone.

# chooses CLUSTER|SENTENCE KNOWN HOLDERS CLUSTER...: which one the role takes, or what it says when it takes none. KNOWN is
# the one of an earlier run, HOLDERS are those in which the database is, and each cluster is VERSION/NAME:PORT:STATUS:START.
chooses() {
    local expected="$1" known="$2" holders="$3" machine="$scratch/clusters" cluster name port status start answer
    shift 3
    rm -rf "$machine"
    mkdir -p "$machine/state"
    [[ -z "$known" ]] || echo "$known" >"$machine/state/cluster"
    for cluster in "$@"; do
        IFS=: read -r name port status start <<<"$cluster"
        mkdir -p "$machine/etc/$name"
        printf '# a comment\n%s\n' "$start" >"$machine/etc/$name/start.conf"
        echo "${name%/*} ${name#*/} $port $status postgres /data /log" >>"$machine/list"
    done
    touch "$machine/list"
    answer="$(
        # The functions that are about to be tried, on this list instead of the machine's.
        # shellcheck source=terraform/roles/postgres/cluster.sh
        DATABASE=shunt state="$machine/state" PG_CLUSTER_CONF_ROOT="$machine/etc"
        . terraform/roles/postgres/cluster.sh
        die() { echo "$*"; exit 1; }
        pg_lsclusters() { cat "$machine/list"; }
        pg_createcluster() { echo "$3 $4 $2 down postgres /data /log" >>"$machine/list"; }
        sql_in() {
            [[ "$holders" != *"!$1"* ]] || { echo 'refused'; return 2; }
            if [[ " $holders " == *" $1 "* ]]; then echo 1; else echo 0; fi
        }
        choose_cluster
        echo "$version/$cluster"
    )" || true
    echo "$* -> $answer"
    [[ "$(tail -n 1 <<<"$answer")" == *"$expected"* ]] || { echo "expected: $expected"; exit 1; }
}

cluster_is_kept() {
    [[ -d /usr/lib/postgresql ]] || skip "this Postgres is not Debian's (optional)"
    local old=15/main:5432:online:auto new=17/main:5433:online:auto
    # An upgrade of Debian made an empty one beside it.
    chooses 15/main 15/main 15/main "$old" "$new"
    # Also while the one with the links is down for the moment.
    chooses 15/main 15/main '' 15/main:5432:down:auto "$new"
    # By a former release of the role, which left no note but the list of its files.
    chooses 15/main '' 15/main "$old" "$new"
    # After shunt-postgres-upgrade.
    chooses 17/main 17/main 17/main 15/main:5433:down:manual 17/main:5432:online:auto
    chooses 17/main 17/main '' 15/main:5433:down:manual 17/main:5432:down:auto
    # After an upgrade by hand it is not certain.
    chooses 'echo 17/main >' 15/main 17/main 15/main:5433:down:manual 17/main:5432:online:auto
    # And after the old one was dropped it is.
    chooses 17/main 15/main 17/main 17/main:5432:online:auto
    chooses 'is gone, and 0 running clusters hold it' 15/main '' 17/main:5432:online:auto
    # One that came to the port of the other.
    chooses 'it is in 17/main' 15/main 17/main "$old" 17/main:5432:online:auto
    chooses 'has port 5433' 17/main '15/main 17/main' "$old" "$new"
    # A machine that is new: with nothing, with what Debian made, with two.
    chooses "$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -n 1)/main" '' ''
    chooses 15/main '' '' 15/main:5432:down:auto
    chooses 17/main '' '' 15/main:5433:online:auto 17/main:5432:online:auto
    chooses 'several clusters hold' '' '15/main 17/main' "$old" "$new"
    chooses 'no cluster has port 5432' '' '' "$new"
    # What cannot be asked is not empty.
    chooses 'cannot find out whether 17/main holds' '' '!17/main' "$old" "$new"
    chooses 'cannot find out whether 17/main holds' 15/main '!17/main' 15/main:5432:down:auto "$new"
    chooses 'cannot find out whether 15/main holds' 15/main '!15/main' "$old" "$new"
    chooses 'its server is not installed' 15/main '' 15/main:5432:down,binaries_missing:auto "$new"
}

# What role.sh does to files of this machine, in a folder.
cluster_files_stay() {
    local machine="$scratch/role" run
    mkdir -p "$machine/state"
    (
        # shellcheck source=terraform/roles/base/role.sh
        . terraform/roles/base/role.sh
        state="$machine/state"
        for run in 15 17; do
            scratch="$machine/run-$run" tree="$machine/run-$run/tree" manifest="$machine/run-$run/manifest"
            mkdir -p "$tree"
            left_alone=("$machine/etc/postgresql/*")
            echo "$run" | file "$machine/etc/postgresql/$run/main/pg_hba.conf" 640 "$(id -un):$(id -gn)"
            echo "$run" | file "$machine/etc/other-$run" 640 "$(id -un):$(id -gn)"
            install_rendered
        done
    )
    [[ -e "$machine/etc/postgresql/15/main/pg_hba.conf" && -e "$machine/etc/postgresql/17/main/pg_hba.conf" ]]
    [[ ! -e "$machine/etc/other-15" && -e "$machine/etc/other-17" ]]
    grep -F "left_alone+=('/etc/postgresql/*')" terraform/roles/postgres/install.sh
}

# upgrades EXPECTED LINKS_OLD LINKS_NEW CLUSTER...: shunt-postgres-upgrade from 15/main, on a list instead of the machine's
# clusters, which are VERSION/NAME:PORT:STATUS:START. Nothing is copied: a run before was cut off when all was.
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
        # is CLUSTER STATUS
        is() { awk -v name="$1" -v status="$2" '$1 "/" $2 == name { $4 = status } { print }' "$machine/list" >"$machine/list.new" && mv "$machine/list.new" "$machine/list"; }
        set_port() { awk -v name="$1" -v port="$2" '$1 "/" $2 == name { $3 = port } { print }' "$machine/list" >"$machine/list.new" && mv "$machine/list.new" "$machine/list"; }
        start() { is "$1" online; }
        # What web nodes can reach after a boot at this moment.
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

# list_is CLUSTER:PORT:STATUS...
list_is() {
    diff <(printf '%s\n' "$@") <(awk '{ print $1 "/" $2 ":" $3 ":" $4 }' "$machine/list")
}

upgrade_loses_no_link() {
    local machine
    # The machine went down when all had been copied, and nothing was written since.
    upgrades 'Done: the links are in 17/main' 3 3 15/main:5433:down:manual 17/main:5432:down:manual
    list_is 15/main:5433:down 17/main:5432:online
    [[ "$(cat "$machine/state/cluster")" == 17/main && "$(cat "$machine/etc/17/main/start.conf")" == auto && ! -e "$machine/state/upgrading" ]]
    # A copy that is wrong goes.
    upgrades '15/main is as it was' 3 2 15/main:5433:down:manual 17/main:5432:down:manual
    list_is 15/main:5432:online
    # It came up by itself, and a link was made there.
    upgrades 'Decide by hand' 3 4 15/main:5433:down:manual 17/main:5432:online:auto
    list_is 15/main:5433:down 17/main:5432:down
    [[ "$(cat "$machine/etc/17/main/start.conf")" == manual ]]
    upgrades 'Decide by hand' 3 4 again
    list_is 15/main:5433:down 17/main:5432:down
    # As terraform/README.md says to take the old one.
    rm "$machine/state/upgrading.open"
    upgrades '15/main is as it was' 3 4 again
    list_is 15/main:5432:online
    # It came up, and nothing was made.
    upgrades 'Done: the links are in 17/main' 3 3 15/main:5433:down:manual 17/main:5432:online:auto
    [[ ! -e "$machine/state/upgrading.open" ]]
    # Cut off when the configuration named the new one, and the role's note did not yet.
    upgrades 'Done: the links' 3 3 15/main:5433:down:manual 17/main:5432:down:manual
    echo '15/main 17/main' >"$machine/state/upgrading"
    echo 15/main >"$machine/state/cluster"
    upgrades 'Nothing to do' 3 3 again
    [[ "$(cat "$machine/state/cluster")" == 17/main && ! -e "$machine/state/upgrading" ]]
}
