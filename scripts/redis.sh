# shellcheck shell=bash disable=SC2034 # redis_port is for the caller
# Starts Redis, for scripts that source this file.

# start_redis LOG ARGUMENT...: starts redis-server with these arguments, in the background and on a free port. Sets
# redis_port. If the variable `servers` names a file, the process id is appended to it.
start_redis() {
    local log="$1" attempt tries server
    shift
    # Redis cannot choose a free port itself, so this tries one after another.
    for ((attempt = 0; attempt < 20; attempt++)); do
        redis_port=$((10000 + RANDOM % 20000))
        # The log of the attempt before would say that this one is ready.
        rm -f "$log"
        redis-server "$@" --port "$redis_port" >"$log" 2>&1 &
        server=$!
        [[ -z "${servers:-}" ]] || echo "$server" >>"$servers"
        for ((tries = 0; tries < 600; tries++)); do
            # First the process: if another server has the port, this one ends.
            kill -0 "$server" 2>/dev/null || break
            if grep -qs 'Ready to accept connections' "$log"; then return; fi
            sleep 0.05
        done
    done
    cat "$log" >&2
    echo 'redis-server did not start' >&2
    return 1
}
