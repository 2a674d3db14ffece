# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# What is in a backup, and what making it may do.

# shellcheck source=scripts/roles/links.sh
source scripts/roles/links.sh

check 'a backup has extensions, grants, tables of others' backup_is_whole
backup_is_whole() {
    start_with_links
    sql <<<'REVOKE ALL ON DATABASE shunt FROM PUBLIC'
    add_what_others_have
    what_others_have >"$scratch/before"
    cat "$scratch/before"
    "$backup"
    local dump said
    dump="$(newest)"

    # A restore on the same machine.
    "$restore" "$dump" --replace
    diff "$scratch/before" <(what_others_have)

    # A restore on a new machine: the roles come back, without login.
    dropdb --force shunt
    dropdb --force shunt_replaced
    sql <<<'DROP ROLE reader; DROP ROLE somebody; DROP ROLE "a role"'
    said="$("$restore" "$dump")"
    echo "$said"
    grep -x 'created: role a role, which the backup names; without login' <<<"$said"
    diff "$scratch/before" <(what_others_have)
    [[ "$(sql <<<"SELECT string_agg(rolname, ',' ORDER BY rolname) FROM pg_roles WHERE NOT rolcanlogin AND rolname !~ '^pg_'")" \
        == 'a role,reader,somebody' ]]

    # If the machine lacks an extension, the restore names it, and removes the roles that it made.
    sed -b 's/hstore/zstore/g' <(pg_dump --format=custom --compress=0 shunt) >"$scratch/zstore"
    dropdb --force shunt
    sql <<<'DROP ROLE reader; DROP ROLE somebody; DROP ROLE "a role"'
    if said="$("$restore" "$scratch/zstore" 2>&1)"; then exit 1; fi
    grep 'the backup has the extension zstore, which this machine lacks' <<<"$said"
    [[ "$(sql <<<"SELECT count(*) FROM pg_roles WHERE rolname IN ('reader', 'somebody', 'a role')")" == 0 ]]
}

# Adds what a database may hold beside the links: objects of other roles, and rights for them.
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

# Prints all of that.
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

# The role of the service may make functions. Backup and restore run as the administrator, and call these functions with
# the rights of their owner only.
check 'a backup gives the role of the service no rights' backup_gives_no_rights
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
    # A backup whose restore needs more rights than the owner has cannot be restored.
    if said="$("$backup" 2>&1)"; then unchanged 'the backup'; echo 'the backup: shunt has read a file'; exit 1; fi
    echo "$said"
    unchanged 'the backup'
    grep 'function query_to_xml(.*) does not exist' <<<"$said"
    sql -d shunt <<<'DROP TABLE public.texts'
    "$backup"
    unchanged 'the backup without it'
    "$restore" "$(newest)" --replace
    unchanged 'the restore'
    # All functions are what they were, even the built-in ones.
    diff "$scratch/before" <(functions)
    [[ "$(sql -d shunt <<<"SELECT (SELECT count(*) FROM pg_namespace WHERE nspname = 'shunt_restore') + (SELECT count(*) FROM pg_event_trigger)")" == 0 ]]
    [[ "$(link_count shunt)" == 1000 ]]
}

functions() {
    sql -d shunt <<<"SELECT oid::regprocedure::text, prosecdef, pg_get_userbyid(proowner), proacl FROM pg_proc ORDER BY 1"
}

# unchanged WHEN: the role of the service is no superuser.
unchanged() {
    [[ "$(sql <<<"SELECT rolsuper FROM pg_roles WHERE rolname = 'shunt'")" == f ]] || { echo "$1: shunt has become a superuser"; exit 1; }
}
