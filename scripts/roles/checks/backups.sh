# shellcheck shell=bash disable=SC2154,SC2034,SC2119,SC2120 # variables of scripts/roles-check, which sources this
# Checks of shunt-backup, on real servers: what is in a backup, and whether it could be restored.

# A server with 1000 links, and the programs of the role: $backup and $restore.
start_with_links() {
    start_postgres
    make_database
    local out="$scratch/this_machine/postgres/out"
    backup="$out/usr/local/sbin/shunt-backup" restore="$out/usr/local/sbin/shunt-restore"
    mkdir "$folder/backups"
    sed "s|^folder=.*|folder='$folder/backups'|" "$out/etc/shunt-backup.conf" >"$folder/backup.conf"
    if ((EUID == 0)); then
        chown -R postgres "$folder/backups"
        # They are run by the user postgres.
        find "$scratch/this_machine" -type d -exec chmod a+x {} +
        chmod a+r "$folder/backup.conf"
    fi
    export SHUNT_BACKUP_CONF="$folder/backup.conf"
    cat migrations/postgres/*.sql | PGOPTIONS='-c role=shunt' sql -d shunt
    # Also with what ends a line, or a table, in the text that rows are counted in.
    sql -d shunt <<<"INSERT INTO urls (short_code, original_url)
        SELECT 'code' || n, E'https://example.com/a\\nb\\n\\\\.\\n' || n FROM generate_series(1, 1000) AS n"
}

# newest: the path of the newest backup.
newest() {
    echo "$folder/backups/$("$backup" --list | tail -n 1)"
}

links() {
    sql -d "${1:-shunt}" <<<'SELECT count(*) FROM urls'
}

backup_is_restored() {
    local dump answer
    start_with_links
    "$backup"
    dump="$(newest)"
    # It would overwrite links.
    if "$restore" "$dump"; then exit 1; fi
    sql -d shunt <<<"DELETE FROM urls WHERE id > 3"

    # One that was cut off restores nothing, and changes nothing.
    head -c $(($(stat -c %s "$dump") - 3000)) "$dump" >"$scratch/cut"
    if "$restore" "$scratch/cut" --replace; then exit 1; fi
    [[ "$(sql -d shunt <<<'SELECT count(*) FROM urls')" == 3 ]]

    "$restore" "$dump" --replace >"$scratch/said"
    cat "$scratch/said"
    grep -x 'public.urls: 1000 rows' "$scratch/said"
    [[ "$(sql -d shunt <<<"SELECT count(*) || ' of ' || (SELECT tableowner FROM pg_tables WHERE tablename = 'urls') FROM urls")" == '1000 of shunt' ]]
    [[ "$(sql -d shunt_replaced <<<'SELECT count(*) FROM urls')" == 3 ]]
    # The program goes on where it was: numbers and triggers are there, and are its own.
    PGHOST=127.0.0.1 PGUSER=shunt PGPASSWORD="$postgres_password" sql -d shunt \
        <<<"INSERT INTO urls (short_code, original_url) VALUES ('new', 'https://example.com/')"
    [[ "$(sql -d shunt <<<"SELECT id FROM urls WHERE short_code = 'new'")" == 1001 ]]

    # Into nothing.
    dropdb --force shunt
    "$restore" "$dump"
    [[ "$(sql -d shunt <<<'SELECT count(*) FROM urls')" == 1000 ]]

    # One of a newer Postgres is not taken for one that was cut off.
    sed -b 's/^PGDMP\x01./PGDMP\x01\x7f/; s/\x0015\.\([0-9]*\) (/\x0099.\1 (/g' "$dump" >"$scratch/newer"
    if answer="$("$restore" "$scratch/newer" --replace 2>&1)"; then exit 1; fi
    grep 'is of a newer Postgres.*restore it where Postgres.* is installed' <<<"$answer"

    # Two are kept, also if they were made within a second; and all that are there, if one fails.
    "$backup"
    "$backup"
    [[ "$("$backup" --list | wc -l)" == 2 ]]
    if PGPORT=1 "$backup"; then exit 1; fi
    [[ "$("$backup" --list | wc -l)" == 2 && -z "$(find "$folder/backups" -name '*.partial')" ]]
}


# What a database holds beside the links: of others, and for others.
add_what_others_have() {
    sql -d shunt <<'END'
CREATE ROLE reader LOGIN;
CREATE ROLE somebody;
CREATE ROLE "a role";
CREATE EXTENSION pg_stat_statements;
CREATE EXTENSION hstore;
GRANT SELECT ON urls TO reader;
GRANT UPDATE (visits) ON urls TO "a role";
GRANT CONNECT ON DATABASE shunt TO reader;
ALTER DATABASE shunt SET work_mem = '5MB';
ALTER DEFAULT PRIVILEGES FOR ROLE shunt IN SCHEMA public GRANT SELECT ON TABLES TO reader;
CREATE SCHEMA notes AUTHORIZATION somebody;
CREATE TABLE notes."what (others) keep" ("of (a) link" text, tags hstore);
ALTER TABLE notes."what (others) keep" OWNER TO somebody;
ALTER TABLE notes."what (others) keep" ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON notes."what (others) keep" TO "a role" USING (true);
INSERT INTO notes."what (others) keep" SELECT 'code' || n, 'a => 1' FROM generate_series(1, 7) AS n;
CREATE TABLE public.elsewhere (id integer);
ALTER TABLE public.elsewhere OWNER TO somebody;
INSERT INTO public.elsewhere VALUES (1), (2);
CREATE MATERIALIZED VIEW public.counted AS SELECT count(*) FROM urls;
END
}

# All of it, as text.
what_others_have() {
    sql -d shunt <<'END'
SELECT 'extension', extname FROM pg_extension ORDER BY 2;
SELECT 'table', c.oid::regclass::text, pg_get_userbyid(relowner), array_to_string(array(SELECT unnest(relacl)::text ORDER BY 1), ' ')
    FROM pg_class AS c WHERE relnamespace IN ('public'::regnamespace, 'notes'::regnamespace) AND relkind IN ('r', 'v', 'm') ORDER BY 2;
SELECT 'column', attname, attacl FROM pg_attribute WHERE attacl IS NOT NULL AND attrelid = 'urls'::regclass;
SELECT 'default', defaclobjtype, defaclacl FROM pg_default_acl;
SELECT 'policy', polname, polroles::regrole[] FROM pg_policy;
SELECT 'database', pg_get_userbyid(datdba), array_to_string(array(SELECT unnest(datacl)::text ORDER BY 1), ' ') FROM pg_database WHERE datname = 'shunt';
SELECT 'setting', setconfig FROM pg_db_role_setting WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = 'shunt');
SELECT 'rows', (SELECT count(*) FROM notes."what (others) keep"), (SELECT count(*) FROM elsewhere), (TABLE counted), (SELECT count(*) FROM urls);
END
}

backup_is_whole() {
    start_with_links
    sql <<<'REVOKE ALL ON DATABASE shunt FROM PUBLIC'
    add_what_others_have
    what_others_have >"$scratch/before"
    cat "$scratch/before"
    "$backup"
    local dump said
    dump="$(newest)"

    # On the same machine.
    "$restore" "$dump" --replace
    diff "$scratch/before" <(what_others_have)

    # On a new one: roles come back, and nobody can log in by them.
    dropdb --force shunt
    dropdb --force shunt_replaced
    sql <<<'DROP ROLE reader; DROP ROLE somebody; DROP ROLE "a role"'
    said="$("$restore" "$dump")"
    echo "$said"
    grep -x 'created: role a role, which the backup names; without login' <<<"$said"
    diff "$scratch/before" <(what_others_have)
    [[ "$(sql <<<"SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE NOT rolcanlogin AND rolname !~ '^pg_'")" \
        == 'a role,reader,somebody' ]]

    # What the machine lacks is said, by its name. Roles that were made for it are gone again.
    sed -b 's/hstore/zstore/g' <(pg_dump --format=custom --compress=0 shunt) >"$scratch/zstore"
    dropdb --force shunt
    sql <<<'DROP ROLE reader; DROP ROLE somebody; DROP ROLE "a role"'
    if said="$("$restore" "$scratch/zstore" 2>&1)"; then exit 1; fi
    grep 'the backup has the extension zstore, which this machine lacks' <<<"$said"
    [[ "$(sql <<<"SELECT count(*) FROM pg_roles WHERE rolname IN ('reader', 'somebody', 'a role')")" == 0 ]]
}

# not_a_backup WHY: the next backup fails, says so, is kept under another name, and leaves the older one.
not_a_backup() {
    local said
    if said="$("$backup" 2>&1)"; then echo "a backup in spite of: $1"; exit 1; fi
    echo "$said"
    grep "was made, but cannot be restored: .*$1" <<<"${said//$'\n'/ }"
    [[ "$("$backup" --list | wc -l)" == 1 && -n "$(find "$folder/backups" -name '*.dump.untried')" ]]
    [[ "$(sql <<<"SELECT count(*) FROM pg_database WHERE datname = 'shunt_trial'")" == 0 ]]
}

backup_is_tried_out() {
    start_with_links
    "$backup" >"$scratch/said"
    cat "$scratch/said"
    grep ' 1000 rows, restored for a trial' "$scratch/said"

    # A dump that is complete and cannot be restored: its check looks for a table that is not there yet.
    sql -d shunt <<'END'
CREATE FUNCTION known(code text) RETURNS boolean LANGUAGE sql AS 'SELECT EXISTS (SELECT FROM urls WHERE short_code = code)';
CREATE TABLE tags (code text CHECK (known(code)));
INSERT INTO tags VALUES ('code1');
END
    not_a_backup 'relation "urls" does not exist'
    # They do not fill the disk either.
    not_a_backup 'relation "urls" does not exist'
    not_a_backup 'relation "urls" does not exist'
    (($(find "$folder/backups" -name '*.untried' | wc -l) == 2))
    sql -d shunt <<<'DROP TABLE tags'

    # One that is restored with a row less.
    mkdir -p "$scratch/shims"
    cat >"$scratch/shims/pg_restore" <<END
#!/bin/sh
"$binaries/pg_restore" "\$@" || exit
case "\$*" in *shunt_trial*) psql -q -d shunt_trial -c "DELETE FROM public.urls WHERE short_code = 'code7'" ;; esac
END
    chmod 755 "$scratch/shims" "$scratch/shims/pg_restore"
    PATH="$scratch/shims:$PATH" not_a_backup 'rows differ.*< 1000 public.urls > 999 public.urls'

    # One for whose trial there is no room.
    rm "$scratch/shims/pg_restore"
    printf '%s\n' '#!/bin/sh' "case \"\$*\" in *$folder/data*) printf 'Avail\\n1000\\n' ;; *) exec /bin/df \"\$@\" ;; esac" >"$scratch/shims/df"
    chmod 755 "$scratch/shims/df"
    PATH="$scratch/shims:$PATH" not_a_backup 'the trial needs [0-9]* bytes in .*, and 1000 are free'
    rm "$scratch/shims/df"

    # The server's process gives way to those that answer requests.
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

    # One that was killed in the middle of its trial: the next one takes away what it left.
    # shellcheck disable=SC2016 # for the other shell
    printf '%s\n' '#!/bin/bash' 'kill -KILL -- -$(ps -o pgid= -p $$)' >"$scratch/shims/pg_restore"
    if unprivileged env PATH="$scratch/shims:$PATH" setsid --wait "$backup"; then exit 1; fi
    [[ "$(sql <<<"SELECT count(*) FROM pg_database WHERE datname = 'shunt_trial'")" == 1 ]]
    rm -r "$scratch/shims"
    # However often that happens, what it leaves is two and the next one.
    (($(find "$folder/backups" -name '*.untried' | wc -l) <= 3))
    "$backup"
    (($(find "$folder/backups" -name '*.untried' | wc -l) == 2))
    [[ "$(sql <<<"SELECT count(*) FROM pg_database WHERE datname = 'shunt_trial'")" == 0 ]]
    # What the database does while it is dumped is no difference.
    (while sql -d shunt <<<"INSERT INTO urls (short_code, original_url) VALUES (gen_random_uuid(), 'https://example.com/')"; do :; done) &
    local writer=$!
    echo "$writer" >>"$scratch/servers"
    "$backup"
    kill "$writer"
}

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
    # Two are kept, beside those.
    [[ ! -e "$first" && -s "$second" && -s "$(newest)" && "$(newest)" != "$second" ]]
    for name in "${ahead[@]}" shunt-before-the-upgrade.dump; do [[ -e "$folder/backups/$name" ]]; done
    "$backup" --latest | cmp - "$(newest)"
}

# The role of the service may make functions. Backup and restore, which are the administrator's, call them as what they are.
backup_gives_no_rights() {
    local said
    start_with_links
    sql -d shunt <<'SQL'
SET ROLE shunt;
CREATE FUNCTION public.rise() RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE 'ALTER ROLE shunt SUPERUSER';
    RETURN 1;
EXCEPTION WHEN insufficient_privilege THEN RETURN 1;
END $$;
-- Says that it changes nothing, so that it may be called earlier.
CREATE FUNCTION public.rise_early() RETURNS integer LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN public.rise(); END';
CREATE FUNCTION public.format(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT public.rise()::text';
CREATE TABLE public.checked (id integer CHECK (public.rise() = id));
INSERT INTO public.checked VALUES (1);
-- Called when the table is made.
CREATE TABLE public.generated (id integer, risen integer GENERATED ALWAYS AS (public.rise_early()) STORED);
INSERT INTO public.generated VALUES (1);
CREATE DOMAIN public.risen AS integer CHECK (public.rise() = 1);
CREATE TABLE public.of_domain (id public.risen);
INSERT INTO public.of_domain VALUES (1);
CREATE FUNCTION public.next(state public.risen, integer) RETURNS public.risen LANGUAGE sql AS 'SELECT 1';
-- As is this.
CREATE AGGREGATE public.aggregated(integer) (SFUNC = public.next, STYPE = public.risen, INITCOND = '1');
-- Text that is run as SQL by whichever role is at work.
CREATE TABLE public.texts (id integer CHECK (CASE WHEN current_user = 'shunt' THEN true
    ELSE query_to_xml('SELECT pg_read_file(''PG_VERSION'')', true, true, '') IS NOT NULL END));
INSERT INTO public.texts VALUES (1);
SQL
    functions >"$scratch/before"
    unchanged 'before'
    # What wants more rights than its owner has cannot be restored.
    if said="$("$backup" 2>&1)"; then unchanged 'the backup'; echo 'the backup: shunt has read a file'; exit 1; fi
    echo "$said"
    unchanged 'the backup'
    grep 'function query_to_xml(.*) does not exist' <<<"$said"
    sql -d shunt <<<'DROP TABLE public.texts'
    "$backup"
    unchanged 'the backup without it'
    "$restore" "$(newest)" --replace
    unchanged 'the restore'
    # Functions are what they were, built-in ones too.
    diff "$scratch/before" <(functions)
    [[ "$(sql -d shunt <<<"SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'shunt_restore') + (SELECT count(*) FROM pg_event_trigger)")" == 0 ]]
    [[ "$(links)" == 1000 ]]
}

functions() {
    sql -d shunt <<<"SELECT oid::regprocedure::text, prosecdef, pg_get_userbyid(proowner), proacl FROM pg_proc ORDER BY 1"
}

# unchanged WHEN
unchanged() {
    [[ "$(sql <<<"SELECT rolsuper FROM pg_roles WHERE rolname = 'shunt'")" == f ]] || { echo "$1: shunt has become a superuser"; exit 1; }
}
