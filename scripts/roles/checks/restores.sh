# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# Restores that are interrupted, that fail, and that change the owner.

# shellcheck source=scripts/roles/links.sh
source scripts/roles/links.sh

check 'a restore that is killed leaves the links, at every step' restore_can_be_killed
restore_can_be_killed() {
    start_with_links
    "$backup"
    local dump at answer result
    dump="$folder/dump"
    cp "$(newest)" "$dump"
    chmod a+r "$dump"
    sql -d shunt <<<'DELETE FROM urls WHERE id > 3'
    # An earlier restore has put a database aside.
    createdb shunt_replaced
    make_shims
    for ((at = 1; at < 200; at++)); do
        result=0
        interrupted kill "$at" "$dump" --replace || result=$?
        service_has_links "killed before call $at" 3 1000
        if ((result == 0)); then break; fi
        # Without --replace, the next restore replaces nothing.
        if answer="$("$restore" "$dump" 2>&1)"; then echo "killed before call $at: the next one replaces the links"; exit 1; fi
        grep -E 'the database shunt holds (3|1000) links|another restore is under way' <<<"$answer"
    done
    ((at > 10 && at < 200))
    [[ "$(link_count shunt)" == 1000 ]]
    [[ "$(sql <<<"SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database WHERE datname ~ '^shunt'")" == shunt,shunt_replaced ]]

    # The same while the service works, and while a client is connected to the database that was put aside.
    (while :; do PGHOST=127.0.0.1 PGUSER=shunt PGPASSWORD="$postgres_password" psql -qd shunt -c 'SELECT pg_sleep(0.01)' >/dev/null 2>&1 || true; done) &
    echo "$!" >>"$servers"
    psql -qd shunt_replaced -c 'SELECT pg_sleep(600)' >/dev/null 2>&1 &
    "$restore" "$dump" --replace
    [[ "$(link_count shunt)" == 1000 && "$(link_count shunt_replaced)" == 1000 ]]

    # A database of a name that the restore uses: if somebody else made it, it stays; if the restore made it, it goes,
    # even if the restore was killed before it marked the database as its own.
    createdb shunt_incoming
    createdb shunt_obsolete
    sql -d shunt_incoming <<<'CREATE TABLE theirs ()'
    if answer="$("$restore" "$dump" --replace 2>&1)"; then exit 1; fi
    grep 'the database shunt_incoming was made by somebody else' <<<"$answer"
    sql -d shunt_incoming <<<'TABLE theirs'
    sql <<<'ALTER DATABASE shunt_incoming RENAME TO shunt_trial'
    if answer="$("$backup" 2>&1)"; then exit 1; fi
    grep 'the database shunt_trial was made by somebody else' <<<"$answer"
    sql -d shunt_trial <<<'TABLE theirs'
    dropdb shunt_trial
    "$restore" "$dump" --replace
    [[ "$(sql <<<"SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database WHERE datname ~ '^shunt'")" == shunt,shunt_replaced ]]
    [[ -z "$(sql <<<"SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'shunt'")" ]]

    # A restore without room changes nothing.
    printf '%s\n' '#!/bin/sh' "case \"\$*\" in *$folder/data*) printf 'Avail\\n1000\\n' ;; *) exec /bin/df \"\$@\" ;; esac" >"$scratch/shims/df"
    chmod 755 "$scratch/shims/df"
    if answer="$(AT=0 PATH="$scratch/shims:$PATH" "$restore" "$dump" --replace 2>&1)"; then exit 1; fi
    rm "$scratch/shims/df"
    grep 'the restore needs [0-9]* bytes in .*, and 1000 are free' <<<"$answer"

    # What older versions of shunt-restore left when they were killed.
    sql <<<'ALTER DATABASE shunt ALLOW_CONNECTIONS false'
    if answer="$("$restore" "$dump" 2>&1)"; then exit 1; fi
    grep 'opened: the database shunt' <<<"$answer"
    grep 'the database shunt holds 1000 links' <<<"$answer"
    service_has_links 'closed before' 1000
    echo "figure: killed at each of $at steps"
}

check 'a restore takes no failure for a database without links' restore_heeds_failures
restore_heeds_failures() {
    start_with_links
    "$backup"
    local dump at result
    dump="$folder/dump"
    cp "$(newest)" "$dump"
    chmod a+r "$dump"
    sql -d shunt <<<'DELETE FROM urls WHERE id > 3'
    make_shims
    # Without --replace a restore changes nothing, and any call may fail.
    for ((at = 1; at < 50; at++)); do
        if interrupted fail "$at" "$dump"; then echo "call $at failed, and the links are replaced"; exit 1; fi
        service_has_links "call $at failed" 3
        if grep 'holds 3 links. With --replace' "$scratch/said" && (($(wc -l <"$folder/calls") < at)); then break; fi
    done
    ((at > 4 && at < 50))
    # With --replace, either the restore fails and the old links stay, or it succeeds and the backup's links are there.
    for ((at = 1; at < 200; at++)); do
        result=0
        interrupted fail "$at" "$dump" --replace || result=$?
        if ((result)); then
            service_has_links "call $at failed" 3 1000
        else
            service_has_links "call $at failed" 1000
            if (($(wc -l <"$folder/calls") < at)); then break; fi
        fi
        sql -d shunt <<<'DELETE FROM urls WHERE id > 3'
    done
    ((at > 10 && at < 200))
}

check "links of another owner are the service's after a restore" restore_adopts
restore_adopts() {
    start_with_links
    sql -d shunt <<'END'
SET ROLE shunt;
CREATE TYPE colour AS ENUM ('red');
CREATE SCHEMA mine;
CREATE VIEW mine.codes AS SELECT short_code FROM urls;
CREATE DOMAIN code AS text;
CREATE SEQUENCE numbers;
END
    "$backup"
    # As on a machine with another DATABASE_USER.
    sql <<<"CREATE ROLE links LOGIN"
    sed -i "s/^owner=.*/owner='links'/" "$folder/backup.conf"
    "$restore" "$(newest)" --replace
    [[ "$(link_count shunt)" == 1000 ]]
    diff <(sql -d shunt <<<"SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace IN ('public'::regnamespace, 'mine'::regnamespace)
        UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        UNION SELECT pg_get_userbyid(typowner) FROM pg_type WHERE typnamespace = 'public'::regnamespace
        UNION SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'mine'") <(echo links)
    # The database that was put aside keeps its owner.
    [[ "$(sql -d shunt_replaced <<<"SELECT tableowner FROM pg_tables WHERE tablename = 'urls'")" == shunt ]]
    [[ "$(sql <<<"SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'shunt_replaced'")" == shunt ]]
}

# Makes shims of the programs that a restore calls. They count their calls, and before call number $AT they do what
# $MODE says: `kill` kills the whole restore, as a power cut would; `fail` makes this call fail.
make_shims() {
    local program
    mkdir -p "$scratch/shims"
    for program in psql pg_restore dropdb; do
        cat >"$scratch/shims/$program" <<END
#!/bin/bash
exec 8>>"$folder/calls.lock"
flock 8
echo $program >>"$folder/calls"
number=\$(wc -l <"$folder/calls")
exec 8>&-
if ((number == AT)); then
    case "\$MODE" in
        kill) kill -KILL -- "-\$(ps -o pgid= -p \$\$ | tr -d ' ')" ;;
        fail) exit 2 ;;
    esac
fi
exec "$binaries/$program" "\$@"
END
        chmod 755 "$scratch/shims/$program"
    done
    chmod 755 "$scratch/shims"
}

# interrupted MODE AT ARGUMENT...: runs a restore with these shims, in a session of its own. When this returns, no
# process of it is left that holds its lock.
interrupted() {
    local result=0
    unprivileged rm -f "$folder/calls"
    unprivileged touch "$folder/calls"
    unprivileged env PATH="$scratch/shims:$PATH" MODE="$1" AT="$2" SHUNT_BACKUP_CONF="$SHUNT_BACKUP_CONF" \
        setsid --wait bash "$restore" "${@:3}" >"$scratch/said" 2>&1 || result=$?
    within 30 flock --nonblock "$SHUNT_BACKUP_CONF" true
    return "$result"
}

# service_has_links WHEN COUNT [COUNT]: the service can read one of these numbers of links: those of before the restore,
# or those of the backup.
service_has_links() {
    local answer
    answer="$(PGHOST=127.0.0.1 PGUSER=shunt PGPASSWORD="$postgres_password" sql -d shunt <<<'SELECT count(*) FROM urls')" \
        || { echo "$1: the service cannot reach its links"; cat "$scratch/said"; exit 1; }
    [[ "$answer" == "$2" || "$answer" == "${3:-$2}" ]] || { echo "$1: the service has $answer links"; cat "$scratch/said"; exit 1; }
    echo "$1: $answer links"
}
