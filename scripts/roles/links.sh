# shellcheck shell=bash disable=SC2154,SC2034 # variables of the files that scripts/roles-check sources
# A Postgres with links, and the programs that back it up and restore it.

# shellcheck source=scripts/roles/postgres.sh
source scripts/roles/postgres.sh

# Starts a server with 1000 links. Sets $backup and $restore, the programs of the role.
start_with_links() {
    start_postgres
    make_database
    local out="$scratch/this_machine/postgres/out"
    backup="$out/usr/local/sbin/shunt-backup" restore="$out/usr/local/sbin/shunt-restore"
    mkdir "$folder/backups"
    sed "s|^folder=.*|folder='$folder/backups'|" "$out/etc/shunt-backup.conf" >"$folder/backup.conf"
    if ((EUID == 0)); then
        chown -R postgres "$folder/backups"
        # The user postgres runs these programs.
        find "$scratch/this_machine" -type d -exec chmod a+x {} +
        chmod a+r "$folder/backup.conf"
    fi
    export SHUNT_BACKUP_CONF="$folder/backup.conf"
    cat migrations/postgres/*.sql | PGOPTIONS='-c role=shunt' sql -d shunt
    # The programs count rows in text. These URLs contain what ends a line, or a table, in that text.
    sql -d shunt <<<"INSERT INTO urls (short_code, original_url)
        SELECT 'code' || n, E'https://example.com/a\\nb\\n\\\\.\\n' || n FROM generate_series(1, 1000) AS n"
}

# newest: prints the path of the newest backup.
newest() {
    echo "$folder/backups/$("$backup" --list | tail -n 1)"
}

# link_count DATABASE: prints how many links it holds.
link_count() {
    sql -d "$1" <<<'SELECT count(*) FROM urls'
}
