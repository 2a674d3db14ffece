# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# Postgres with its rendered files.

# shellcheck source=scripts/roles/postgres.sh
source scripts/roles/postgres.sh

check 'Postgres runs with its files: by password, from the web nodes only' postgres_admits
postgres_admits() {
    start_postgres
    make_database
    [[ -z "$(sql <<<'SELECT error FROM pg_hba_file_rules WHERE error IS NOT NULL')" ]]
    diff <(sql <<<"SELECT type, database, user_name, address, netmask, auth_method FROM pg_hba_file_rules ORDER BY line_number OFFSET 1") \
        <(printf '%s\n' 'local|{all}|{postgres}|||peer' 'host|{shunt}|{shunt}|127.0.0.1|255.255.255.255|scram-sha-256')
    # What a machine with 2 GB gets, rounded.
    diff <(sql <<<"SELECT name, setting, unit FROM pg_settings WHERE name IN
        ('max_connections', 'shared_buffers', 'password_encryption', 'maintenance_work_mem') ORDER BY name") \
        <(printf '%s\n' 'maintenance_work_mem|131072|kB' 'max_connections|44|' 'password_encryption|scram-sha-256|' 'shared_buffers|65536|8kB')
    [[ "$(sql <<<"SELECT left(rolpassword, 14) FROM pg_authid WHERE rolname = 'shunt'")" == 'SCRAM-SHA-256$' ]]

    # From a web node with the password; with a wrong one; as the administrator; to another database; from another
    # address; and by the socket.
    [[ "$(connect 127.0.0.1 "$postgres_password" shunt shunt)" == shunt ]]
    not_admitted 'password authentication failed' 127.0.0.1 wrong shunt shunt
    not_admitted 'no pg_hba.conf entry' 127.0.0.1 "$postgres_password" postgres postgres
    not_admitted 'no pg_hba.conf entry' 127.0.0.1 "$postgres_password" shunt postgres
    # If the server listens there too, because it is an address of `localhost`.
    if (true </dev/tcp/::1/"$PGPORT") 2>/dev/null; then
        not_admitted 'no pg_hba.conf entry' ::1 "$postgres_password" shunt shunt
    fi
    not_admitted 'no pg_hba.conf entry' "$folder" "$postgres_password" shunt shunt
    if grep -F "$postgres_password" "$folder/log"; then exit 1; fi
}

# connect HOST PASSWORD USER DATABASE: prints the user, or the error.
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
