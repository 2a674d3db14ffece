# shellcheck shell=bash disable=SC2154,SC2119,SC2120 # variables of the files that scripts/roles-check sources
# A Postgres with the files of its role.

find_postgres() {
    binaries="$(compgen -G '/usr/lib/postgresql/*/bin/initdb' | sort -V | tail -n 1 || true)"
    binaries="${binaries:-$(command -v initdb || true)}"
    [[ -n "$binaries" ]] || skip 'postgresql is not installed'
    binaries="${binaries%/*}"
    PATH="$binaries:$PATH"
}

# Postgres refuses to run as root.
unprivileged() {
    if ((EUID == 0)); then (cd / && runuser -u postgres -- "$@"); else (cd / && "$@"); fi
}

# start_postgres RULE...: starts Postgres with the rendered files and further rules of pg_hba.conf, on a free port. Sets
# PGHOST (its socket), PGPORT and PGUSER.
start_postgres() {
    find_postgres
    local rendered="$scratch/this_machine/postgres/out/etc/postgresql/15/main" attempt
    folder="$scratch/postgres"
    rm -rf "$folder"
    mkdir "$folder"
    cp "$rendered/conf.d/shunt.conf" "$folder"
    # The administrator's user of the system has another name here than on the machine.
    { printf '%s\n' 'local all postgres trust' "$@"; cat "$rendered/pg_hba.conf"; } >"$folder/pg_hba.conf"
    if ((EUID == 0)); then
        chmod 711 "$scratch"
        chown -R postgres "$folder"
    fi
    unprivileged "$binaries/initdb" --pgdata "$folder/data" --username postgres --no-sync --auth reject --encoding UTF8 >/dev/null
    unprivileged tee -a "$folder/data/postgresql.conf" >/dev/null <<<"include '$folder/shunt.conf'"
    for ((attempt = 0; attempt < 20; attempt++)); do
        export PGHOST="$folder" PGPORT=$((20000 + RANDOM % 10000)) PGUSER=postgres PGDATABASE=postgres
        unprivileged "$binaries/pg_ctl" --pgdata "$folder/data" --wait --timeout 30 --log "$folder/log" --silent start \
            -o "-p $PGPORT -c hba_file=$folder/pg_hba.conf -c unix_socket_directories=$folder -c fsync=off" || { tail -n 3 "$folder/log"; continue; }
        head -n 1 "$folder/data/postmaster.pid" >>"$servers"
        return
    done
    exit 1
}

sql() {
    psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"
}

# Makes the role and the database, as install.sh does.
make_database() {
    sql <<END
SET log_statement = 'none';
CREATE ROLE shunt LOGIN PASSWORD '$postgres_password';
CREATE DATABASE shunt OWNER shunt TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
END
}
