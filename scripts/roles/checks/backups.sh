# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# Backups are tried out, restored and rotated.

# shellcheck source=scripts/roles/links.sh
source scripts/roles/links.sh

check 'a backup is restored, and a bad one is not' backup_is_restored
backup_is_restored() {
    local dump answer
    start_with_links
    "$backup"
    dump="$(newest)"
    # Without --replace, a restore does not overwrite links.
    if "$restore" "$dump"; then exit 1; fi
    sql -d shunt <<<"DELETE FROM urls WHERE id > 3"

    # A truncated backup restores nothing and changes nothing.
    head -c $(($(stat -c %s "$dump") - 3000)) "$dump" >"$scratch/cut"
    if "$restore" "$scratch/cut" --replace; then exit 1; fi
    [[ "$(sql -d shunt <<<'SELECT count(*) FROM urls')" == 3 ]]

    "$restore" "$dump" --replace >"$scratch/said"
    cat "$scratch/said"
    grep -x 'public.urls: 1000 rows' "$scratch/said"
    [[ "$(sql -d shunt <<<"SELECT count(*) || ' of ' || (SELECT tableowner FROM pg_tables WHERE tablename = 'urls') FROM urls")" == '1000 of shunt' ]]
    [[ "$(sql -d shunt_replaced <<<'SELECT count(*) FROM urls')" == 3 ]]
    # The program can go on: sequences and triggers are restored, and belong to its role.
    PGHOST=127.0.0.1 PGUSER=shunt PGPASSWORD="$postgres_password" sql -d shunt \
        <<<"INSERT INTO urls (short_code, original_url) VALUES ('new', 'https://example.com/')"
    [[ "$(sql -d shunt <<<"SELECT id FROM urls WHERE short_code = 'new'")" == 1001 ]]

    # A restore where there is no database.
    dropdb --force shunt
    "$restore" "$dump"
    [[ "$(sql -d shunt <<<'SELECT count(*) FROM urls')" == 1000 ]]

    # A backup of a newer Postgres is told from a truncated one.
    sed -b 's/^PGDMP\x01./PGDMP\x01\x7f/; s/\x0015\.\([0-9]*\) (/\x0099.\1 (/g' "$dump" >"$scratch/newer"
    if answer="$("$restore" "$scratch/newer" --replace 2>&1)"; then exit 1; fi
    grep 'is of a newer Postgres.*restore it where Postgres.* is installed' <<<"$answer"

    # Two backups are kept, even if they were made within a second. If a backup fails, all older ones stay.
    "$backup"
    "$backup"
    [[ "$("$backup" --list | wc -l)" == 2 ]]
    if PGPORT=1 "$backup"; then exit 1; fi
    [[ "$("$backup" --list | wc -l)" == 2 && -z "$(find "$folder/backups" -name '*.partial')" ]]
}

check 'a backup that cannot be restored is none, and that is said' backup_is_tried_out
backup_is_tried_out() {
    start_with_links
    "$backup" >"$scratch/said"
    cat "$scratch/said"
    grep ' 1000 rows, restored for a trial' "$scratch/said"

    # A complete dump that cannot be restored: a CHECK in it looks for a table that does not exist yet.
    sql -d shunt <<'END'
CREATE FUNCTION known(code text) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM urls WHERE short_code = code)';
CREATE TABLE tags (code text CHECK (known(code)));
INSERT INTO tags VALUES ('code1');
END
    not_a_backup 'relation "urls" does not exist'
    # Such dumps do not fill the disk.
    not_a_backup 'relation "urls" does not exist'
    not_a_backup 'relation "urls" does not exist'
    (($(find "$folder/backups" -name '*.untried' | wc -l) == 2))
    sql -d shunt <<<'DROP TABLE tags'

    # A dump whose trial restores one row less.
    mkdir -p "$scratch/shims"
    cat >"$scratch/shims/pg_restore" <<END
#!/bin/sh
"$binaries/pg_restore" "\$@" || exit
case "\$*" in *shunt_trial*) psql -q -d shunt_trial -c "DELETE FROM public.urls WHERE short_code = 'code7'" ;; esac
END
    chmod 755 "$scratch/shims" "$scratch/shims/pg_restore"
    PATH="$scratch/shims:$PATH" not_a_backup 'rows differ.*< 1000 public.urls > 999 public.urls'

    # A dump without room for its trial.
    rm "$scratch/shims/pg_restore"
    printf '%s\n' '#!/bin/sh' "case \"\$*\" in *$folder/data*) printf 'Avail\\n1000\\n' ;; *) exec /bin/df \"\$@\" ;; esac" >"$scratch/shims/df"
    chmod 755 "$scratch/shims/df"
    PATH="$scratch/shims:$PATH" not_a_backup 'the trial needs [0-9]* bytes in .*, and 1000 are free'
    rm "$scratch/shims/df"

    # The server's process of the trial has a lower priority than those that answer requests.
    cat >"$scratch/shims/pg_restore" <<END
#!/bin/bash
if [[ "\$*" == *shunt_trial* ]]; then
    psql -qd shunt_trial -c 'SELECT pg_sleep(60)' >/dev/null 2>&1 &
    for ((tries = 0; tries < 300; tries++)); do
        process="\$(psql -XAtqd postgres -c "SELECT max(pid) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'")"
        if [[ -n "\$process" && "\$(ps -o ni= -p "\$process")" -ge 10 ]]; then touch "$folder/backups/gave-way"; break; fi
        sleep 0.1
    done
    psql -XAtqd postgres -c "SELECT pg_terminate_backend(\$process)"
    wait
fi
exec "$binaries/pg_restore" "\$@"
END
    chmod 755 "$scratch/shims/pg_restore"
    PATH="$scratch/shims:$PATH" "$backup"
    [[ -e "$folder/backups/gave-way" ]]

    # If a backup is killed during its trial, the next one removes what it left.
    # shellcheck disable=SC2016 # for the other shell
    printf '%s\n' '#!/bin/bash' 'kill -KILL -- -$(ps -o pgid= -p $$)' >"$scratch/shims/pg_restore"
    if unprivileged env PATH="$scratch/shims:$PATH" setsid --wait "$backup"; then exit 1; fi
    # Not all of its processes end at the same moment.
    within 30 flock --nonblock "$folder/backups/.lock" true
    [[ "$(sql <<<"SELECT count(*) FROM pg_database WHERE datname = 'shunt_trial'")" == 1 ]]
    rm -r "$scratch/shims"
    # Untried dumps never pile up: the two newest stay, and one that is under way.
    (($(find "$folder/backups" -name '*.untried' | wc -l) <= 3))
    "$backup"
    (($(find "$folder/backups" -name '*.untried' | wc -l) == 2))
    [[ "$(sql <<<"SELECT count(*) FROM pg_database WHERE datname = 'shunt_trial'")" == 0 ]]
    # Writes during the dump do not count as a difference.
    (while sql -d shunt <<<"INSERT INTO urls (short_code, original_url) VALUES (gen_random_uuid(), 'https://example.com/')"; do :; done) &
    local writer=$!
    echo "$writer" >>"$servers"
    "$backup"
    kill "$writer"
}

# not_a_backup WHY: the next backup fails and says why. Its dump is kept under another name, and the older backup stays.
not_a_backup() {
    local said
    if said="$("$backup" 2>&1)"; then echo "a backup in spite of: $1"; exit 1; fi
    echo "$said"
    grep "was made, but cannot be restored: .*$1" <<<"${said//$'\n'/ }"
    [[ "$("$backup" --list | wc -l)" == 1 && -n "$(find "$folder/backups" -name '*.dump.untried')" ]]
    [[ "$(sql <<<"SELECT count(*) FROM pg_database WHERE datname = 'shunt_trial'")" == 0 ]]
}

check 'dumps that are dated ahead push out no new one' backups_are_rotated
backups_are_rotated() {
    start_with_links
    local ahead=(shunt-20990101T000000Z.dump shunt-20990102T000000Z.dump shunt-20990103T000000Z.dump) first second said name
    for name in "${ahead[@]}" shunt-before-the-upgrade.dump; do unprivileged touch "$folder/backups/$name"; done
    said="$("$backup" 2>&1)"
    echo "$said"
    grep 'dated ahead of the clock, neither counted nor removed: shunt-20990101' <<<"$said"
    first="$(newest)"
    [[ -s "$first" ]]
    "$backup"
    second="$(newest)"
    "$backup"
    # Two backups are kept, and those from the future.
    [[ ! -e "$first" && -s "$second" && -s "$(newest)" && "$(newest)" != "$second" ]]
    for name in "${ahead[@]}" shunt-before-the-upgrade.dump; do [[ -e "$folder/backups/$name" ]]; done
    "$backup" --latest | cmp - "$(newest)"
}
