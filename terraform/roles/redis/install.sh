#!/usr/bin/env bash
# Makes this Debian machine the Redis that counts requests: Debian's package, with the limits of the repository's
# docker/redis.conf, open to the web nodes by password, and only for the commands that Shunt sends.
#
# Run as root in the folder that has settings.env, base/, role/ and shared/docker/redis.conf. Running it again changes
# what differs and nothing else. A restart of Redis forgets the windows under way, so it is made only if needed.
set -euo pipefail

# shellcheck source=../base/role.sh
. "$(dirname "$0")/../base/role.sh"
role="$(dirname "$0")"

packages() {
    echo redis-server
}

render() {
    need WEB_ADDRESSES
    addresses WEB_ADDRESSES
    need_secret REDIS_PASSWORD
    MAX_MEMORY_LINE='# As docker-redis.conf says: maxmemory'
    if [[ -n "${MAX_MEMORY:-}" ]]; then
        [[ "$MAX_MEMORY" =~ ^[1-9][0-9]*([kmg]b?)?$ ]] || die "settings.env: MAX_MEMORY: $MAX_MEMORY is not like 256mb"
        MAX_MEMORY_LINE="maxmemory $MAX_MEMORY"
    fi
    PASSWORD_SHA256="$(printf '%s' "$REDIS_PASSWORD" | sha256sum | cut -d ' ' -f 1)"

    # shellcheck disable=SC2086 # a list
    accept 'tcp dport 6379' $WEB_ADDRESSES

    copy shared/docker/redis.conf /etc/redis/docker-redis.conf
    template "$role/shunt.conf" /etc/redis/shunt.conf
    template "$role/users.acl" /etc/redis/users.acl 640 root:redis
    template "$role/redis-server.conf" /etc/systemd/system/redis-server.service.d/shunt.conf
}

# Redis can check a configuration only by starting with it. This starts it on a socket, without a port.
check() {
    local folder="$scratch/redis" server tries answer=
    mkdir -m 750 "$folder"
    sed "s|/etc/redis/|$folder/|" "$tree/etc/redis/shunt.conf" >"$folder/shunt.conf"
    cp "$tree/etc/redis/docker-redis.conf" "$tree/etc/redis/users.acl" "$folder"
    redis-server "$folder/shunt.conf" --port 0 --unixsocket "$folder/socket" --dir "$folder" --supervised no \
        --pidfile '' >"$folder/log" 2>&1 9>&- &
    server=$!
    for ((tries = 0; tries < 50; tries++)); do
        answer="$(printf 'AUTH shunt %s\nTIME\n' "$REDIS_PASSWORD" | redis-cli -s "$folder/socket" 2>&1 || true)"
        [[ "$answer" != OK* ]] || break
        kill -0 "$server" 2>/dev/null || break
        sleep 0.1
    done
    kill "$server" 2>/dev/null || true
    wait "$server" || true
    if [[ "$answer" != OK* ]]; then
        tail -n 5 "$folder/log" >&2
        die "Redis would not work with its configuration, nothing was changed"
    fi
}

activate() {
    keep_running redis-server.service restart /etc/redis/docker-redis.conf /etc/redis/shunt.conf /etc/redis/users.acl \
        /etc/systemd/system/redis-server.service.d/shunt.conf
}

run_role "$@"
