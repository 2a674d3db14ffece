# shellcheck shell=bash disable=SC2154,SC2034 # variables of the files that scripts/roles-check sources
# A Postgres with links, and the programs that back it up and restore it.

# shellcheck source=scripts/roles/postgres.sh
source scripts/roles/postgres.sh

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

# link_count DATABASE
link_count() {
    sql -d "$1" <<<'SELECT count(*) FROM urls'
}
