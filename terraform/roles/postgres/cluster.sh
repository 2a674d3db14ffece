# shellcheck shell=bash
# Finds which of this machine's clusters is Shunt's. A cluster is Debian's word for a server with its data, such as
# 15/main; a machine can have several, of several versions. A new release of Debian brings a new version, and may make
# an empty cluster of it, on another port, beside the one with the links.
#
# The cluster that was set up stays Shunt's until shunt-postgres-upgrade changes that. If it is not certain, the role
# changes nothing.

# shellcheck disable=SC2154 # variables of role.sh and of install.sh

# The port that web nodes connect to.
service_port=5432
clusters_root="${PG_CLUSTER_CONF_ROOT:-/etc/postgresql}"
server_programs=/usr/lib/postgresql

declare -A port_of=() status_of=()

# Sets `version` and `cluster`. Makes a cluster if the machine has none.
choose_cluster() {
    local known chosen
    [[ ! -e "$state/upgrading" ]] || die 'an upgrade of Postgres was cut off: run shunt-postgres-upgrade first'
    list_clusters
    known="$(known_cluster)"
    if [[ -z "$known" ]]; then
        first_cluster
    elif [[ -n "${port_of[$known]:-}" ]]; then
        confirm_known
        chosen="$known"
    else
        successor
    fi
    version="${chosen%/*}" cluster="${chosen#*/}"
    [[ "${port_of[$chosen]}" == "$service_port" ]] || die "the database is in $chosen, which has port ${port_of[$chosen]};" \
        "web nodes ask $service_port. Nothing was changed. If the port was changed by hand, change it back:" \
        "pg_conftool $version $cluster set port $service_port. If another cluster took its place by an upgrade by hand," \
        "say which, such as: echo ${version}/new >$state/cluster"
    [[ "${status_of[$chosen]}" != *binaries_missing* ]] \
        || die "the database is in $chosen, and its server is not installed: apt-get install postgresql-$version"
}

list_clusters() {
    local lines number name port status
    port_of=() status_of=()
    lines="$(pg_lsclusters --no-header)" || die 'pg_lsclusters fails'
    while read -r number name port status _; do
        [[ -n "$number" ]] || continue
        port_of[$number/$name]="$port"
        status_of[$number/$name]="$status"
    done <<<"$lines"
}

# known_cluster: the cluster that an earlier run set up, by its note or by the files that it left.
known_cluster() {
    if [[ -s "$state/cluster" ]]; then
        cat "$state/cluster"
    elif [[ -e "$state/files" ]]; then
        sed -n 's|^/etc/postgresql/\([^/]*/[^/]*\)/conf.d/shunt.conf$|\1|p' "$state/files" | head -n 1
    fi
}

remember_cluster() {
    echo "$version/$cluster" >"$state/cluster.new"
    mv "$state/cluster.new" "$state/cluster"
}

# holds_database CLUSTER: whether this running cluster holds the database. Not to know that is an error.
holds_database() {
    local answer
    answer="$(sql_in "$1" <<<"SELECT count(*) FROM pg_database WHERE datname = '$DATABASE'" 2>&1)" \
        || die "cannot find out whether $1 holds the database $DATABASE; nothing was changed: $answer"
    ((answer))
}

starts_by_itself() {
    grep --quiet '^[[:space:]]*auto' "$clusters_root/$1/start.conf" 2>/dev/null
}

# Sets `others` to the running clusters that hold the database, without the known one.
find_other_holders() {
    local name
    others=()
    for name in "${!port_of[@]}"; do
        [[ "$name" != "$known" && "${status_of[$name]}" == online* ]] || continue
        if holds_database "$name"; then others+=("$name"); fi
    done
}

# Takes the known cluster, if it holds the database, or may hold it and no other does.
confirm_known() {
    local others
    if [[ "${status_of[$known]}" == online* ]]; then
        if holds_database "$known"; then return; fi
    elif ! starts_by_itself "$known" && ((${#port_of[@]} > 1)); then
        die "$known, which holds the database $DATABASE, is stopped and does not start by itself, and there are others" \
            "(${!port_of[*]}). Nothing was changed. If another one took its place by an upgrade by hand, say which, such as:" \
            "echo $(newest_beside "$known") >$state/cluster"
    fi
    find_other_holders
    ((${#others[@]} == 0)) || die "$known was set up for the database $DATABASE, but it is in ${others[*]}. Nothing was changed." \
        "If that is the one: echo ${others[0]} >$state/cluster"
}

# newest_beside CLUSTER: notes a newer cluster beside this one.
newest_beside() {
    printf '%s\n' "${!port_of[@]}" | grep -vx "$1" | sort -V | tail -n 1
}

# For when the known cluster is gone.
successor() {
    local others
    find_other_holders
    ((${#others[@]} == 1)) || die "$known, which held the database $DATABASE, is gone, and ${#others[@]} running clusters hold it" \
        "now. Nothing was changed. To begin with an empty database: rm $state/cluster $state/files"
    chosen="${others[0]}"
}

# For when no cluster is known. Takes the one that holds the database; else the one that web nodes would reach; else a
# new one.
first_cluster() {
    local others name reached=()
    find_other_holders
    for name in "${!port_of[@]}"; do
        if [[ "${port_of[$name]}" == "$service_port" ]]; then reached+=("$name"); fi
    done
    if ((${#others[@]} == 1)); then
        chosen="${others[0]}"
    elif ((${#others[@]})); then
        die "several clusters hold a database $DATABASE: ${others[*]}. Nothing was changed. Say which:" \
            "echo ${others[0]} >$state/cluster"
    elif ((${#reached[@]} == 1)); then
        chosen="${reached[0]}"
    elif ((${#reached[@]})); then
        die "several clusters have port $service_port: ${reached[*]}. Nothing was changed. Say which:" \
            "echo ${reached[0]} >$state/cluster"
    elif ((${#port_of[@]})); then
        die "no cluster has port $service_port, which web nodes ask: ${!port_of[*]}. Nothing was changed. Give it to one of them" \
            "(pg_conftool <version> <name> set port $service_port), or drop those that are not needed (pg_dropcluster)"
    else
        new_cluster
    fi
}

# Debian makes a cluster when the package is installed, unless it is configured not to.
new_cluster() {
    local newest
    newest="$(find "$server_programs" -mindepth 3 -maxdepth 3 -path '*/bin/postgres' | sed 's|/bin/postgres$||; s|.*/||' \
        | sort -V | tail -n 1)"
    [[ -n "$newest" ]] || die "there is no Postgres in $server_programs"
    pg_createcluster --port "$service_port" "$newest" main >/dev/null
    chosen="$newest/main"
    echo "created: cluster $chosen"
    list_clusters
}
