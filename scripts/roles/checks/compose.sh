# shellcheck shell=bash disable=SC2154,SC2034 # variables of the files that scripts/roles-check sources
# The backup of docker/compose.yaml, with the commands of docs/docker.md on a server of this machine.

# shellcheck source=scripts/roles/postgres.sh
source scripts/roles/postgres.sh

# Runs the commands of the page as written, with a fake Docker that runs them on a server of this machine.
check 'the backup of docs/docker.md comes back whole, or not at all' compose_backup_is_restored
compose_backup_is_restored() {
    start_postgres 'local all shunt trust'
    unset PGUSER
    psql -q -U postgres <<<'CREATE ROLE shunt SUPERUSER LOGIN; CREATE DATABASE shunt OWNER shunt'
    cat migrations/postgres/*.sql | psql -q -U shunt shunt
    psql -q -U shunt shunt <<'END'
INSERT INTO urls (short_code, original_url) SELECT 'code' || n, 'https://example.com/' || n FROM generate_series(1, 1000) AS n;
CREATE EXTENSION pg_stat_statements;
END
    mkdir -p "$scratch/docker/bin" "$scratch/docker/checkout/docker"
    cat >"$scratch/docker/bin/docker" <<END
#!/bin/bash
[[ "\$1 \$2" == 'compose -f' && "\$3" == *compose.yaml ]] || { echo "docker \$*: unknown" >&2; exit 9; }
case "\$4" in
    exec) [[ "\$5 \$6" == '-T postgres' ]] && exec "\${@:7}" ;;
    up) echo "\${*:4}" >>"$scratch/docker/compose"; [[ ! -e "$scratch/docker/down" ]]; exit ;;
    stop) echo "\${*:4}" >>"$scratch/docker/compose" && exit ;;
esac
exit 9
END
    chmod +x "$scratch/docker/bin/docker"
    cp docker/backup docker/restore "$scratch/docker/checkout/docker"
    cd "$scratch/docker/checkout" || exit
    PATH="$scratch/docker/bin:$PATH"
    local commands command said
    mapfile -t commands < <(sed -n '/^### Backup/,/^## /s/^\$ \(docker\/.*\)/\1/p' "$repository/docs/docker.md")
    ((${#commands[@]} == 2))
    said="$(bash -euc "${commands[0]}")"
    [[ "$said" == 'shunt.dump: 1000 links' ]]
    psql -q -U shunt shunt <<<'DELETE FROM urls WHERE id > 3; CREATE TABLE newer (id integer)'
    said="$(bash -euc "${commands[1]}")"
    [[ "$said" == 'restored: 1000 links. The database that was in use is kept as shunt_replaced.' ]]
    # The backup replaced the database; it was not merged into it.
    diff <(psql -XAtq -U shunt shunt <<<"SELECT (SELECT count(*) FROM urls), to_regclass('newer')") <(echo '1000|')
    diff "$scratch/docker/compose" <(printf '%s\n' 'stop node1 node2' 'up -d --wait node1 node2')

    # Again, without --replace; with a truncated file; without a server.
    psql -q -U shunt shunt <<<'DELETE FROM urls WHERE id > 3'
    if docker/restore shunt.dump; then exit 1; fi
    head -c $(($(stat -c %s shunt.dump) - 3000)) shunt.dump >cut.dump
    if docker/restore cut.dump --replace; then exit 1; fi
    if PGPORT=1 docker/restore shunt.dump; then exit 1; fi
    if PGPORT=1 docker/backup shunt.dump; then exit 1; fi
    [[ "$(psql -XAtq -U shunt shunt <<<'SELECT count(*) FROM urls')" == 3 && "$(ls)" == $'cut.dump\ndocker\nshunt.dump' ]]
    [[ "$(wc -l <"$scratch/docker/compose")" == 2 ]]
    docker/restore shunt.dump --replace
    [[ "$(psql -XAtq -U shunt shunt <<<'SELECT count(*) FROM urls')" == 1000 ]]

    # If the nodes do not come up, the links stay restored, and the command says both.
    touch "$scratch/docker/down"
    if said="$(docker/restore shunt.dump --replace 2>&1)"; then exit 1; fi
    grep 'restored: 1000 links' <<<"$said"
    grep 'the links are restored, but the nodes do not come up' <<<"$said"
    rm "$scratch/docker/down"
    databases_are postgres,shunt,shunt_replaced

    # If the restored database cannot take its place, the one that was put aside before stays.
    printf '%s\n' '#!/bin/bash' "[[ \"\$*\" != *'shunt_incoming RENAME TO shunt'* ]] || exit 1" "exec $binaries/psql \"\$@\"" >"$scratch/docker/bin/psql"
    chmod +x "$scratch/docker/bin/psql"
    if said="$(docker/restore shunt.dump --replace 2>&1)"; then exit 1; fi
    grep 'cannot take its place; nothing was changed' <<<"$said"
    rm "$scratch/docker/bin/psql"
    hash -r
    databases_are postgres,shunt,shunt_incoming,shunt_replaced
    docker/restore shunt.dump --replace
    databases_are postgres,shunt,shunt_replaced

    # A trial that finds one row less: no backup, and no database is left.
    printf '%s\n' '#!/bin/bash' "$binaries/pg_restore \"\$@\" || exit" \
        "[[ \"\$*\" != *shunt_trial* ]] || $binaries/psql -qU shunt -d shunt_trial -c \"DELETE FROM urls WHERE short_code = 'code7'\"" >"$scratch/docker/bin/pg_restore"
    chmod +x "$scratch/docker/bin/pg_restore"
    if said="$(docker/backup shunt.dump 2>&1)"; then exit 1; fi
    grep 'public.urls has 999 rows instead of 1000' <<<"$said"
    databases_are postgres,shunt,shunt_replaced
    rm "$scratch/docker/bin/pg_restore"
    hash -r
    # A database of the same name that somebody else made stays.
    psql -q -U shunt postgres <<<'CREATE DATABASE shunt_trial'
    if said="$(docker/backup shunt.dump 2>&1)"; then exit 1; fi
    grep 'shunt_trial was made by somebody else' <<<"$said"
    databases_are postgres,shunt,shunt_replaced,shunt_trial
}

# databases_are NAME,NAME...: these databases exist, and no other.
databases_are() {
    diff <(echo "$1") <(psql -XAtq -U shunt postgres <<<"SELECT string_agg(datname, ',' ORDER BY datname) FROM pg_database WHERE NOT datistemplate")
}
