# shellcheck shell=bash disable=SC2154,SC2034 # variables of scripts/roles-check, which sources this
# Checks of the backup of docker/compose.yaml, with the commands of docs/docker.md on a server of this machine.

# The commands of the page, as written, with a Docker that runs them on a server of this machine.
compose_backup_is_restored() {
    start_postgres 'local all shunt trust'
    unset PGUSER
    psql -q -U postgres <<<'CREATE ROLE shunt SUPERUSER LOGIN; CREATE DATABASE shunt OWNER shunt'
    cat migrations/postgres/*.sql | psql -q -U shunt shunt
    psql -q -U shunt shunt <<'END'
INSERT INTO urls (short_code, original_url) SELECT 'code' || n, 'https://example.com/' || n FROM generate_series(1, 1000) AS n;
CREATE EXTENSION pg_stat_statements;
END
    mkdir -p "$scratch/docker/bin" "$scratch/docker/work/docker"
    cat >"$scratch/docker/bin/docker" <<END
#!/bin/bash
[[ "\$1 \$2" == 'compose -f' && "\$3" == *compose.yaml ]] || { echo "docker \$*: unknown" >&2; exit 9; }
case "\$4" in
    exec) [[ "\$5 \$6" == '-T postgres' ]] && exec "\${@:7}" ;;
    stop | up) echo "\${*:4}" >>"$scratch/docker/compose" && exit ;;
esac
exit 9
END
    chmod +x "$scratch/docker/bin/docker"
    cp docker/backup docker/restore "$scratch/docker/work/docker"
    cd "$scratch/docker/work" || exit
    PATH="$scratch/docker/bin:$PATH"
    local commands command said
    mapfile -t commands < <(sed -n '/^### Backup/,/^## /s/^\$ \(docker\/.*\)/\1/p' "$repository/docs/docker.md")
    ((${#commands[@]} == 2))
    said="$(bash -euc "${commands[0]}")"
    [[ "$said" == 'shunt.dump: 1000 links' ]]
    psql -q -U shunt shunt <<<'DELETE FROM urls WHERE id > 3; CREATE TABLE newer (id integer)'
    said="$(bash -euc "${commands[1]}")"
    [[ "$said" == 'restored: 1000 links. The database that was in use is kept as shunt_replaced.' ]]
    # Not merged.
    diff <(psql -XAtq -U shunt shunt <<<"SELECT (SELECT count(*) FROM urls), to_regclass('newer')") <(echo '1000|')
    diff "$scratch/docker/compose" <(printf '%s\n' 'stop node1 node2' 'up -d --wait node1 node2')

    # Once more, without --replace; with a file that was cut off; without a server.
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
}
