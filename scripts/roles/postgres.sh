# shellcheck shell=bash disable=SC2154,SC2034,SC2119,SC2120 # variables of scripts/roles-check, which sources this
# Checks of the files of the postgres role, on a real server, which other checks start by this.

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

# start_postgres RULE...: with the rendered files, and further rules of who may connect, on a free port. Sets PGHOST (its
# socket), PGPORT and PGUSER.
start_postgres() {
    find_postgres
    local rendered="$scratch/this_machine/postgres/out/etc/postgresql/15/main" attempt server tries
    folder="$scratch/postgres"
    rm -rf "$folder"
    mkdir "$folder"
    cp "$rendered/conf.d/shunt.conf" "$folder"
    # The administrator is another user here than on the machine.
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
        head -n 1 "$folder/data/postmaster.pid" >>"$scratch/servers"
        return
    done
    exit 1
}

sql() {
    psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 "$@"
}

# What install.sh does.
make_database() {
    sql <<END
SET log_statement = 'none';
CREATE ROLE shunt LOGIN PASSWORD '$postgres_password';
CREATE DATABASE shunt OWNER shunt TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
END
}

postgres_admits() {
    start_postgres
    make_database
    [[ -z "$(sql <<<'SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL')" ]]
    diff <(sql <<<"SELECT type, database, user_name, address, netmask, auth_method FROM pg_hba_file_rules ORDER BY line_number OFFSET 1") \
        <(printf '%s\n' 'local|{all}|{postgres}|||peer' 'host|{shunt}|{shunt}|127.0.0.1|255.255.255.255|scram-sha-256')
    # 2 GB, rounded.
    diff <(sql <<<"SELECT name, setting, unit FROM pg_settings WHERE name IN
        ('max_connections', 'shared_buffers', 'password_encryption', 'maintenance_work_mem') ORDER BY name") \
        <(printf '%s\n' 'maintenance_work_mem|131072|kB' 'max_connections|44|' 'password_encryption|scram-sha-256|' 'shared_buffers|65536|8kB')
    [[ "$(sql <<<"SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname = 'shunt'")" == 'SCRAM-SHA-256$' ]]

    # From a web node, with the password; with a wrong one; as the administrator; to another database; from elsewhere;
    # and by the socket.
    [[ "$(connect 127.0.0.1 "$postgres_password" shunt shunt)" == shunt ]]
    not_admitted 'password authentication failed' 127.0.0.1 wrong shunt shunt
    not_admitted 'no pg_hba.conf entry' 127.0.0.1 "$postgres_password" postgres postgres
    not_admitted 'no pg_hba.conf entry' 127.0.0.1 "$postgres_password" shunt postgres
    # Where `localhost` is that address as well.
    if (true </dev/tcp/::1/"$PGPORT") 2>/dev/null; then
        not_admitted 'no pg_hba.conf entry' ::1 "$postgres_password" shunt shunt
    fi
    not_admitted 'no pg_hba.conf entry' "$folder" "$postgres_password" shunt shunt
    if grep -F "$postgres_password" "$folder/log"; then exit 1; fi
}

# connect HOST PASSWORD USER DATABASE
connect() {
    PGHOST="$1" PGPASSWORD="$2" psql --no-psqlrc --no-password --tuples-only --no-align --username "$3" --dbname "$4" \
        --command 'SELECT current_user' 2>&1
}

# not_admitted WHY HOST PASSWORD USER DATABASE
not_admitted() {
    local answer
    if answer="$(connect "${@:2}")"; then
        echo "admitted: ${*:2}"
        exit 1
    fi
    grep -F "$1" <<<"$answer" || { echo "not admitted for another reason: $answer"; exit 1; }
}
