# shellcheck shell=bash disable=SC2154 # variables of the other files beside this one
# Requests through the load balancer while something happens: load.js, from the operator's address. That address has a
# policy of its own (operator_policy in terraform.sh), so its requests are counted like all others and never refused.

: "${SCRATCH:?}" "${K6:?}"

load_rate="${LOAD_RATE:-100}"

# start_load: returns when links are followed.
start_load() {
    rm -rf "$SCRATCH/load"
    mkdir "$SCRATCH/load"
    env BASE_URL="http://${address_of[lb-1]}" RATE="$load_rate" REPORTS="$SCRATCH/load" \
        K6_NO_USAGE_REPORT=true K6_AUTO_EXTENSION_RESOLUTION=false K6_ADDRESS='' K6_WEB_DASHBOARD=false \
        "$K6" run --quiet --no-color "$here/load.js" >"$SCRATCH/load/log" 2>&1 </dev/null &
    echo "$!" >"$SCRATCH/load/pid"
    within 30 "the first requests" load_flows
    # The figures include the requests before the harm.
    sleep 2
}

# load_flows: the load runs, and follows links: setup() of load.js has made them.
load_flows() {
    kill -0 "$(<"$SCRATCH/load/pid")" 2>/dev/null || fail "no load: $(tail -n 1 "$SCRATCH/load/log")"
    grep -q 'links are followed' "$SCRATCH/load/log"
}

# end_load: ends the load. Sets requests, failed_gets, failed_posts, slowest (ms) and load_text. Does nothing without a
# load.
end_load() {
    [[ -f "$SCRATCH/load/pid" ]] || return 0
    local pid
    pid="$(<"$SCRATCH/load/pid")"
    rm "$SCRATCH/load/pid"
    kill -TERM "$pid" 2>/dev/null || true
    # The load may be a child of another shell, so `wait` would not do.
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    head -n 40 "$SCRATCH/load/log"
    requests=0 failed_gets=0 failed_posts=0 slowest=0
    read -r requests failed_gets failed_posts slowest <"$SCRATCH/load/figures" || true
    load_text="$requests requests, $((failed_gets + failed_posts)) failed, slowest $slowest ms"
}

# no_request_failed: ends the load. Fails the step if a request failed, or if far too few were sent.
no_request_failed() {
    end_load
    ((requests >= 2 * load_rate)) || fail "only $requests requests were sent"
    ((failed_gets + failed_posts == 0)) || fail "$load_text"
}
