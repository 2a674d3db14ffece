# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# Redis with its rendered files.

# shellcheck source=scripts/redis.sh
source scripts/redis.sh

check 'Redis runs with its files: Shunt may do what it does, and nothing else' redis_confines
redis_confines() {
    start_rendered_redis
    [[ "$(redis-cli -p "$redis_port" PING)" == 'NOAUTH'* ]]
    [[ "$(redis-cli --no-auth-warning --user shunt --pass wrong -p "$redis_port" TIME 2>&1)" == *'WRONGPASS'* ]]
    [[ "$(as_shunt TIME | wc -l)" == 2 ]]

    # What a request sends (src/limiter/redis), for every kind of key.
    local key answer
    for key in rate_limit:10.9.8.7 rate_limit:shorten:fd00:: rate_limit:probe:1; do
        answer="$(printf '%s\n' MULTI "ZADD $key NX 1 11" "ZADD $key NX 2 12" "ZREMRANGEBYSCORE $key -inf 0" \
            "ZREMRANGEBYRANK $key 0 -12" "ZCARD $key" "ZRANGE $key 0 1 WITHSCORES" "EXPIRE $key 60" EXEC | as_shunt)"
        [[ "$(tail -n 10 <<<"$answer" | paste -sd ' ')" == '1 1 0 0 2 11 1 12 2 1' ]] || { echo "$answer"; exit 1; }
    done

    forbidden CONFIG GET maxmemory
    forbidden FLUSHALL
    forbidden KEYS '*'
    forbidden SCAN 0
    # What a node does with the clock once a second.
    [[ "$(printf '%s\n' 'GET rate_limit:clock' 'SET rate_limit:clock 1 EX 60' 'PERSIST rate_limit:clock' | as_shunt |
        tail -n 2 | paste -sd ' ')" == 'OK 1' ]]

    forbidden DEL rate_limit:clock
    forbidden SET other 1
    forbidden GET other
    forbidden EVAL 'return 1' 0
    forbidden ACL LIST
    forbidden SHUTDOWN
    forbidden REPLICAOF 127.0.0.1 1
    forbidden ZADD other NX 1 1
    forbidden SUBSCRIBE channel
}

# Without the file of users: with it, no user may ask for the configuration.
check 'Redis has the memory and the policy of docker/redis.conf' redis_has_limits
redis_has_limits() {
    start_rendered_redis --aclfile ''
    expect() { diff <(printf '%s\n' "$1" "$2") <(redis-cli -p "$redis_port" CONFIG GET "$1"); }
    # The set-up's values, and the repository's where the set-up says nothing.
    expect maxmemory $((128 * 1024 * 1024))
    expect maxmemory-policy noeviction
    expect save ''
    expect appendonly no
    expect bind '127.0.0.2 127.0.0.1 -::1'
    expect protected-mode yes
    if grep '^maxmemory' "$scratch/five_nodes/redis/out/etc/redis/shunt.conf"; then exit 1; fi
}

# start_rendered_redis ARGUMENT...: starts Redis with the rendered files and these arguments.
start_rendered_redis() {
    need redis-server
    need redis-cli
    local files="$scratch/redis"
    rm -rf "$files"
    cp -r "$scratch/this_machine/redis/out/etc/redis" "$files"
    sed -i "s|/etc/redis/|$files/|; s|^dir .*|dir $files|" "$files/shunt.conf"
    start_redis "$scratch/redis.log" "$files/shunt.conf" "$@"
}

# as_shunt COMMAND...: as the user of the service.
as_shunt() {
    REDISCLI_AUTH="$redis_password" redis-cli --no-auth-warning --user shunt -p "$redis_port" "$@" 2>&1
}

# forbidden COMMAND...: Redis refuses this command to the user of the service.
forbidden() {
    local answer
    answer="$(as_shunt "$@")"
    [[ "$answer" == NOPERM* || "$answer" == *"No permissions to access a key"* ]] || { echo "$* is answered $answer"; exit 1; }
}
