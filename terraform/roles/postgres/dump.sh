# shellcheck shell=bash
# How a backup of Shunt's database is read, restored into a new database, and counted. shunt-backup and shunt-restore
# source this after backup.conf, so that a backup is tried out with the code that would restore it.
#
# A failure never counts as an empty answer: if a caller looks at a result, it says what a failure means.

: "${database:?}" "${owner:?}"
shopt -s inherit_errexit

# Makes Debian's wrappers of Postgres's programs use this cluster and its version. By default they use the newest one.
if [[ -n "${cluster:-}" ]]; then export PGCLUSTER="$cluster"; fi
# Without notices about databases that do not exist. Messages are in English, because these programs look at them. A
# dump may take longer than the service's transactions and statements.
#
# search_path: the owner of the database may make functions in `public`, and may set the path, so that the
# administrator's statements would call them. An option of the connection wins over a setting of the database.
PGOPTIONS='-c client_min_messages=warning -c lc_messages=C -c idle_in_transaction_session_timeout=0'
export PGOPTIONS="$PGOPTIONS -c statement_timeout=0 -c search_path="
export LC_ALL=C

# as_postgres COMMAND...: runs the command as the database's administrator, with the caller's standard input: root may
# read files that the user postgres may not.
as_postgres() {
    if ((EUID == 0)); then
        (cd / && exec runuser -u postgres -- "$@")
    else
        (cd / && exec "$@")
    fi
}

# sql DATABASE OPTION...: statements come from standard input.
sql() {
    as_postgres psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname="$1" "${@:2}"
}

# database_exists NAME: prints yes or no, and fails if that cannot be known.
database_exists() {
    sql postgres <<<"SELECT CASE WHEN EXISTS (SELECT FROM pg_database WHERE datname = '$1') THEN 'yes' ELSE 'no' END"
}

# A database with this comment may be dropped.
mark='made by shunt-backup or shunt-restore, which drop it'

# drop_database NAME: drops a database that these programs made. Another one of that name stays, unless it is empty: the
# programs may have been interrupted before they could mark it.
drop_database() {
    local theirs
    theirs="$(sql postgres <<<"SELECT count(*) FROM pg_database WHERE datname = '$1'
        AND shobj_description(oid, 'pg_database') IS DISTINCT FROM '$mark'")" || return
    if ((theirs)); then
        theirs="$(sql "$1" <<<"SELECT (SELECT count(*) FROM pg_class WHERE oid >= 16384) + (SELECT count(*) FROM pg_proc WHERE oid >= 16384)
            + (SELECT count(*) FROM pg_largeobject_metadata)")" || return
        if ((theirs)); then
            echo "the database $1 was made by somebody else: rename it, or drop it if it is not needed" >&2
            return 1
        fi
    fi
    as_postgres dropdb --if-exists --force "$1" </dev/null
}

# Statements that print "ROWS SCHEMA.TABLE" for each table, except for tables of extensions, which fill them.
count_rows="SELECT format('SELECT count(*) || '' '' || %L FROM ONLY %s', relation, relation)
    FROM (SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS relation
        FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema') AS tables
    WHERE NOT EXISTS (SELECT FROM pg_depend AS d
        WHERE d.classid = 'pg_class'::regclass AND d.objid = tables.oid AND d.deptype = 'e')
    ORDER BY relation COLLATE \"C\"
\\gexec"

# rows_in_file FILE: prints the same for a dump. pg_restore prints a row as a line, and writes a newline in a value as
# \n. A name in double quotes may have spaces.
rows_in_file() {
    as_postgres pg_restore --data-only --file=- <"$1" | awk '
        /^COPY / && !table {
            sub(/^COPY /, "")
            match($0, /^("([^"]|"")*"|[^". ]+)\.("([^"]|"")*"|[^". ]+)/)
            table = substr($0, 1, RLENGTH)
            rows = 0
            next
        }
        $0 == "\\." && table { print rows, table; table = ""; next }
        table { rows++ }'
}

# why_unreadable FILE: what is wrong with a file that pg_restore cannot read.
why_unreadable() {
    local answer made
    answer="$(as_postgres pg_restore --file=/dev/null <"$1" 2>&1)" && return
    if [[ "$answer" == *'unsupported version ('* ]]; then
        # The header names the version of the server, and of the pg_dump that wrote it.
        made="$(head -c 400 "$1" | tr -c '[:print:]' '\n' | grep -E '^[0-9]+(\.|devel|alpha|beta|rc)' | tail -n 1)" || made=
        echo "$1 is of a newer Postgres${made:+: pg_dump $made wrote it}. $(pg_restore --version) cannot read it:" \
            "restore it where Postgres ${made:+${made%%[!0-9]*} or newer }is installed."
    else
        echo "$1 is not a complete backup: ${answer##*error: }"
    fi
}

# restore_into DATABASE FILE [OPTION...]: makes the database and restores the file into it, all or nothing, with owners,
# grants, extensions, and tables that are not the service's. Subscriptions are left out: two databases would take from
# the same publication.
#
# Only the session that restores has the name of the database as its application_name: shunt-backup looks for it.
#
# The administrator restores what the service's role has made. Constraints, domains, generated columns and aggregates
# call functions while they are made and filled. Until all is restored, these functions run as their owners.
restore_into() {
    create_empty "$1" || return
    sql "$1" <<<"$confine" || return
    PGAPPNAME="$1" as_postgres pg_restore --single-transaction --exit-on-error --no-subscriptions --dbname="$1" "${@:3}" <"$2" || return
    sql "$1" <<<"$release"
}

# Every function becomes SECURITY DEFINER in the statement that makes it, except for those of extensions, which belong
# to the packages. Built-in functions that run a text as SQL would run it as the administrator, even as SECURITY
# DEFINER. They have other names meanwhile, so a table or a view that uses one cannot be restored.
confine="BEGIN;
CREATE SCHEMA shunt_restore;
CREATE TABLE shunt_restore.confined (routine oid PRIMARY KEY, name name);
CREATE FUNCTION shunt_restore.confine() RETURNS event_trigger LANGUAGE plpgsql SET search_path = '' AS \$confine\$
DECLARE
    made oid;
BEGIN
    FOR made IN SELECT DISTINCT p.oid FROM pg_catalog.pg_event_trigger_ddl_commands() AS c
        JOIN pg_catalog.pg_proc AS p ON c.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND p.oid = c.objid
        WHERE NOT c.in_extension AND p.prokind <> 'a' AND NOT p.prosecdef
    LOOP
        INSERT INTO shunt_restore.confined VALUES (made);
        EXECUTE pg_catalog.format('ALTER ROUTINE %s SECURITY DEFINER', made::pg_catalog.regprocedure);
    END LOOP;
END
\$confine\$;
CREATE EVENT TRIGGER shunt_restore ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION', 'CREATE PROCEDURE')
    EXECUTE FUNCTION shunt_restore.confine();
INSERT INTO shunt_restore.confined SELECT oid, proname FROM pg_proc
    WHERE pronamespace = 'pg_catalog'::regnamespace
        AND (proname ~ '^(query|cursor|table|schema|database)_to_xml' OR proname = 'ts_rewrite' AND pronargs = 2);
SELECT format('ALTER ROUTINE %s RENAME TO %I', routine::regprocedure, 'shunt_restore_' || name) FROM shunt_restore.confined
\\gexec
COMMIT;"

release="BEGIN;
DROP EVENT TRIGGER shunt_restore;
SELECT format('ALTER ROUTINE %s SECURITY INVOKER', routine::regprocedure) FROM shunt_restore.confined WHERE name IS NULL
\\gexec
SELECT format('ALTER ROUTINE %s RENAME TO %I', routine::regprocedure, name) FROM shunt_restore.confined WHERE name IS NOT NULL
\\gexec
DROP FUNCTION shunt_restore.confine();
DROP TABLE shunt_restore.confined;
DROP SCHEMA shunt_restore;
COMMIT;"

create_empty() {
    sql postgres <<END
CREATE DATABASE $1 OWNER $owner TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8';
COMMENT ON DATABASE $1 IS '$mark';
REVOKE ALL ON DATABASE $1 FROM PUBLIC;
END
}

# space_lacking BYTES: prints why there is no room for a new database of this size, or nothing. The database's own disk
# must not run full. The same size again is for the log, which grows to max_wal_size (1 GB) and a little more.
space_lacking() {
    local data log free needed
    data="$(sql postgres <<<'SHOW data_directory')" || return
    log=$(($1 < 1280 * 1024 * 1024 ? $1 : 1280 * 1024 * 1024))
    free="$(df --output=avail --block-size=1 "$data" | tail -n 1)" || return
    needed=$(($1 + log + 64 * 1024 * 1024))
    ((free >= needed)) || echo "needs $needed bytes in $data, and $free are free"
}
