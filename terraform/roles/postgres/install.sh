#!/usr/bin/env bash
# Makes this Debian machine the database: Debian's Postgres, open to the web nodes by password (scram), tuned for the
# machine's memory, and backed up every day.
#
# Run as root in the folder that has settings.env, base/ and role/. Running it again changes what differs and nothing
# else. Postgres is restarted only if a setting needs it. A newer version of Postgres beside the one with the links
# changes nothing: shunt-postgres-upgrade, which is installed with the rest, moves them when you say so.
set -euo pipefail
shopt -s inherit_errexit

# shellcheck source=../base/role.sh
. "$(dirname "$0")/../base/role.sh"
role="$(dirname "$0")"
# shellcheck source=cluster.sh
. "$role/cluster.sh"

# A cluster that is no longer Shunt's keeps its files, because it could not start without them.
left_alone+=('/etc/postgresql/*')

packages() {
    echo postgresql
}

render() {
    need WEB_ADDRESSES DATABASE DATABASE_USER MAX_CONNECTIONS BACKUP_TIME BACKUP_KEEP
    addresses WEB_ADDRESSES
    identifiers DATABASE DATABASE_USER
    numbers MAX_CONNECTIONS BACKUP_KEEP
    [[ "$BACKUP_TIME" =~ ^([01][0-9]|2[0-3]):[0-5][0-9]$ ]] || die "settings.env: BACKUP_TIME: $BACKUP_TIME is not like 03:15"
    find_version
    tune

    # shellcheck disable=SC2086 # a list
    accept 'tcp dport 5432' $WEB_ADDRESSES

    local etc="/etc/postgresql/$version/$cluster"
    template "$role/shunt.conf" "$etc/conf.d/shunt.conf" 644 "$postgres_owner"
    render_hba | file "$etc/pg_hba.conf" 640 "$postgres_owner"
    template "$role/backup.conf" /etc/shunt-backup.conf
    copy "$role/dump.sh" /usr/local/lib/shunt/dump.sh
    copy "$role/shunt-backup" /usr/local/sbin/shunt-backup 755
    copy "$role/shunt-restore" /usr/local/sbin/shunt-restore 755
    copy "$role/shunt-postgres-upgrade" /usr/local/sbin/shunt-postgres-upgrade 755
    copy "$role/shunt-backup.service" /etc/systemd/system/shunt-backup.service
    template "$role/shunt-backup.timer" /etc/systemd/system/shunt-backup.timer
}

# If this run only renders, the version of Debian 12.
find_version() {
    postgres_owner=postgres:postgres
    version="${POSTGRES_VERSION:-15}" cluster=main
    $rendering || choose_cluster
    # shellcheck disable=SC2034 # in backup.conf
    CLUSTER="$version/$cluster"
}

# The rules are in shunt.conf. Memory is rounded to 256 MiB: what a kernel keeps for itself differs from one to the
# next, and must not restart Postgres.
tune() {
    local kib step=$((256 * 1024)) mib
    kib="${MEMORY_KIB:-$(awk '$1 == "MemTotal:" { print $2 }' /proc/meminfo)}"
    mib=$(((kib + step / 2) / step))
    mib=$((mib * 256))
    MEMORY_MB=$((mib < 256 ? 256 : mib))
    SHARED_BUFFERS_MB="$(between 64 $((MEMORY_MB / 4)) 2048)"
    EFFECTIVE_CACHE_SIZE_MB=$((MEMORY_MB / 2))
    MAINTENANCE_WORK_MEM_MB="$(between 16 $((MEMORY_MB / 16)) 256)"
}

between() {
    echo $(($2 < $1 ? $1 : $2 > $3 ? $3 : $2))
}

render_hba() {
    local address
    cat <<'RULES'
# Who may connect. Terraform writes this file: changes made here do not last.

# The administrator, on this machine: `sudo -u postgres psql`.
local all postgres peer

# The web nodes, each by its address, with the password.
RULES
    for address in $WEB_ADDRESSES; do
        if [[ "$address" == *:* ]]; then
            echo "host $DATABASE $DATABASE_USER $address/128 scram-sha-256"
        else
            echo "host $DATABASE $DATABASE_USER $address/32 scram-sha-256"
        fi
    done
}

check() {
    need_secret POSTGRES_PASSWORD
    local answer binaries="/usr/lib/postgresql/$version/bin"
    # Postgres's own check finds unknown settings and values that are out of range.
    answer="$(runuser -u postgres -- "$binaries/postgres" -C max_connections -c "config_file=/dev/stdin" \
        -D "$(data_directory)" <"$tree/etc/postgresql/$version/$cluster/conf.d/shunt.conf" 2>&1 >/dev/null)" \
        || die "Postgres would refuse its configuration, nothing was changed: $answer"
}

data_directory() {
    pg_lsclusters --no-header | awk -v version="$version" -v cluster="$cluster" '$1 == version && $2 == cluster { print $6 }'
}

activate() {
    local etc="/etc/postgresql/$version/$cluster" unit="postgresql@$version-$cluster.service"
    if ! grep --quiet '^auto' "$etc/start.conf"; then
        sed -i 's/^\(manual\|disabled\)/auto/' "$etc/start.conf"
        echo "changed: $etc/start.conf"
        systemctl daemon-reload
    fi
    # This unit starts the cluster at boot, and has no process of its own.
    if ! systemctl is-enabled --quiet postgresql.service; then
        systemctl enable --quiet postgresql.service 2>/dev/null
        echo 'enabled: postgresql.service'
    fi
    if ! systemctl is-active --quiet "$unit"; then
        local began
        began="$(date +%s)"
        systemctl start "$unit" || true
        await_postgres || explain_failure "$unit" "$began"
        systemctl start postgresql.service
        echo "started: $unit"
        applied "$unit" "$etc/conf.d/shunt.conf" "$etc/pg_hba.conf"
    elif outdated "$unit" "$etc/conf.d/shunt.conf" "$etc/pg_hba.conf"; then
        load_configuration "$etc" "$unit"
        applied "$unit" "$etc/conf.d/shunt.conf" "$etc/pg_hba.conf"
    fi

    provide_database
    remember_cluster
    provide_backups
}

load_configuration() {
    local etc="$1" unit="$2" errors loaded now tries waiting
    # These views read the files as they are on disk now.
    errors="$(sql <<<"SELECT 'line ' || coalesce(line_number, 0) || ': ' || error FROM pg_hba_file_rules WHERE error IS NOT NULL
        UNION ALL SELECT f.sourcefile || ': ' || name || ': ' || error FROM pg_file_settings f LEFT JOIN pg_settings s USING (name)
            -- What needs a restart cannot be applied now.
            WHERE error IS NOT NULL AND NOT (context = 'postmaster' AND error = 'setting could not be applied')")"
    if [[ -n "$errors" ]]; then
        undo "$etc/conf.d/shunt.conf" "$etc/pg_hba.conf"
        die "Postgres would refuse its configuration: $errors"
    fi
    loaded="$(sql <<<'SELECT pg_conf_load_time()')"
    sql <<<'SELECT pg_reload_conf()' >/dev/null
    for ((tries = 0; tries < 100; tries++)); do
        now="$(sql <<<'SELECT pg_conf_load_time()')"
        [[ "$now" == "$loaded" ]] || break
        sleep 0.1
    done
    ((tries < 100)) || die "Postgres did not load its configuration within ten seconds"
    waiting="$(sql <<<"SELECT string_agg(name, ', ' ORDER BY name) FROM pg_settings WHERE pending_restart")"
    if [[ -n "$waiting" ]]; then
        local began
        began="$(date +%s)"
        systemctl restart "$unit" || true
        await_postgres || explain_failure "$unit" "$began"
        echo "restarted: $unit, for $waiting"
    else
        echo "reloaded: $unit"
    fi
}

await_postgres() {
    local tries
    for ((tries = 0; tries < 300; tries++)); do
        if sql <<<'SELECT 1' >/dev/null 2>&1; then return 0; fi
        # After a crash, Postgres may take any time to recover; but if its process has ended, waiting is no use.
        systemctl is-active --quiet "postgresql@$version-$cluster.service" \
            || [[ "$(systemctl show -P ActiveState "postgresql@$version-$cluster.service")" == activating ]] || return 1
        sleep 0.2
    done
    return 1
}

# sql_in CLUSTER: runs statements from standard input, so that no secret is an argument. Connects through the socket, as
# the administrator.
sql_in() {
    (cd / && runuser -u postgres -- psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 \
        --cluster "$1" --dbname postgres)
}

sql() {
    sql_in "$version/$cluster"
}

# exists CATALOG CONDITION: whether there is such a row. A failure does not mean that there is none.
exists() {
    local answer
    answer="$(sql <<<"SELECT count(*) FROM $1 WHERE $2")" || die "Postgres cannot be asked for $1; see above"
    ((answer))
}

provide_database() {
    local answer verifier stamp
    if ! exists pg_roles "rolname = '$DATABASE_USER'"; then
        sql <<<"CREATE ROLE $DATABASE_USER LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
        echo "created: role $DATABASE_USER"
    fi

    # Sets the password only if it differs from the last one: each time it is set, its verifier changes.
    verifier="$(sql <<<"SELECT coalesce(rolpassword, '') FROM pg_authid WHERE rolname = '$DATABASE_USER'")"
    stamp="$(printf '%s %s' "$POSTGRES_PASSWORD" "$verifier" | sha256sum)"
    if [[ "$stamp" != "$(cat "$state/password.applied" 2>/dev/null || true)" ]]; then
        # Neither the log nor an error may repeat the statement.
        answer="$(sql <<<"SET log_statement = 'none'; SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic';
            SET password_encryption = 'scram-sha-256';
            ALTER ROLE $DATABASE_USER PASSWORD '$POSTGRES_PASSWORD'" 2>&1)" \
            || die "the password of $DATABASE_USER could not be set: ${answer//"$POSTGRES_PASSWORD"/***}"
        verifier="$(sql <<<"SELECT rolpassword FROM pg_authid WHERE rolname = '$DATABASE_USER'")"
        printf '%s %s' "$POSTGRES_PASSWORD" "$verifier" | sha256sum >"$state/password.applied"
        echo "changed: password of $DATABASE_USER"
    fi

    # In a cluster without a locale, a database would have no encoding. Codes and URLs are compared byte by byte in any
    # locale.
    if ! exists pg_database "datname = '$DATABASE'"; then
        sql <<<"CREATE DATABASE $DATABASE OWNER $DATABASE_USER TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'"
        sql <<<"REVOKE ALL ON DATABASE $DATABASE FROM PUBLIC"
        echo "created: database $DATABASE"
    elif exists pg_database "datname = '$DATABASE' AND NOT datallowconn"; then
        # Former versions of shunt-restore left it like this when they were killed.
        sql <<<"ALTER DATABASE $DATABASE ALLOW_CONNECTIONS true"
        echo "opened: database $DATABASE, which refused all connections"
    fi
}

provide_backups() {
    if [[ ! -d /var/backups/shunt ]]; then
        install -d -m 700 -o postgres -g postgres /var/backups/shunt
        echo 'created: /var/backups/shunt'
    fi
    keep_running shunt-backup.timer restart /etc/systemd/system/shunt-backup.timer
}

run_role "$@"
