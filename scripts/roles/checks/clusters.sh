# shellcheck shell=bash disable=SC2154,SC2034,SC2031,SC2317 # variables of the files that scripts/roles-check sources
# Which cluster the postgres role takes for the service, and what it leaves alone.

check 'a newer Postgres beside the one with the links changes nothing' cluster_is_kept
cluster_is_kept() {
    [[ -d /usr/lib/postgresql ]] || skip "this Postgres is not Debian's (optional)"
    local old=15/main:5432:online:auto new=17/main:5433:online:auto
    # An upgrade of Debian made an empty cluster beside the one with the links.
    chooses 15/main 15/main 15/main "$old" "$new"
    # The same while the cluster with the links is down.
    chooses 15/main 15/main '' 15/main:5432:down:auto "$new"
    # The same after a former release of the role, which left no note of the cluster, only the list of its files.
    chooses 15/main '' 15/main "$old" "$new"
    # After shunt-postgres-upgrade.
    chooses 17/main 17/main 17/main 15/main:5433:down:manual 17/main:5432:online:auto
    chooses 17/main 17/main '' 15/main:5433:down:manual 17/main:5432:down:auto
    # After an upgrade by hand, the role cannot be certain.
    chooses 'echo 17/main >' 15/main 17/main 15/main:5433:down:manual 17/main:5432:online:auto
    # Once the old cluster is dropped, it can.
    chooses 17/main 15/main 17/main 17/main:5432:online:auto
    chooses 'is gone, and 0 running clusters hold it' 15/main '' 17/main:5432:online:auto
    # A new cluster that got the port of the old one.
    chooses 'it is in 17/main' 15/main 17/main "$old" 17/main:5432:online:auto
    chooses 'has port 5433' 17/main '15/main 17/main' "$old" "$new"
    # A new machine: without a cluster, with the one that Debian made, with two.
    chooses "$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -n 1)/main" '' ''
    chooses 15/main '' '' 15/main:5432:down:auto
    chooses 17/main '' '' 15/main:5433:online:auto 17/main:5432:online:auto
    chooses 'several clusters hold' '' '15/main 17/main' "$old" "$new"
    chooses 'no cluster has port 5432' '' '' "$new"
    # A cluster that cannot be asked does not count as empty.
    chooses 'cannot find out whether 17/main holds' '' '!17/main' "$old" "$new"
    chooses 'cannot find out whether 17/main holds' 15/main '!17/main' 15/main:5432:down:auto "$new"
    chooses 'cannot find out whether 15/main holds' 15/main '!15/main' "$old" "$new"
    chooses 'its server is not installed' 15/main '' 15/main:5432:down,binaries_missing:auto "$new"
}

# chooses CLUSTER|SENTENCE KNOWN HOLDERS CLUSTER...: the role takes this cluster, or takes none and says this sentence.
# KNOWN is the cluster of an earlier run, HOLDERS are those with the database (those with a `!` refuse to say), and each
# cluster is VERSION/NAME:PORT:STATUS:START.
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
        # The role's own functions, on this list of clusters instead of the machine's.
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

# Runs role.sh on files in a folder instead of the machine's.
check "files of a cluster that is no longer the service's stay" cluster_files_stay
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
