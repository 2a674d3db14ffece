# shellcheck shell=bash disable=SC2154 # variables of the other files beside this one
# Requests through the load balancer while something happens: load-testing/soak.js from the operator's address, which
# has a policy of its own that it does not reach ($operator_policy), and so takes the same way as everybody's requests.
# Most follow links, one in twenty makes one.

: "${SCRATCH:?}" "${K6:?}"

load_rate=100

# start_load: returns when requests flow.
start_load() {
    rm -rf "$SCRATCH/load"
    mkdir "$SCRATCH/load"
    # Ended by end_load, long before its time is over.
    env BASE_URL="http://${address_of[lb-1]}" RATE="$load_rate" DURATION=30m LINKS=200 REPORTS="$SCRATCH/load" \
        K6_NO_USAGE_REPORT=true K6_AUTO_EXTENSION_RESOLUTION=false K6_ADDRESS='' K6_WEB_DASHBOARD=false \
        "$K6" run --quiet --no-color load-testing/soak.js >"$SCRATCH/load/log" 2>&1 </dev/null &
    echo "$!" >"$SCRATCH/load/pid"
    within 30 "the first requests" load_flows
    # What was there before is part of the figures.
    sleep 1
}

load_flows() {
    kill -0 "$(<"$SCRATCH/load/pid")" 2>/dev/null || fail "the load ended: $(tail -n 3 "$SCRATCH/load/log")"
    # Links made by setup() are all there once the first ones are followed.
    local line
    line="$(on lb-1 tail -n 5 /var/log/nginx/shunt.json)"
    [[ "$line" == *'"method":"GET"'*'shunt-load-test'* ]]
}

# end_load: sets requests, failed, slowest (ms) and load_text. Does nothing if none runs.
end_load() {
    [[ -f "$SCRATCH/load/pid" ]] || return 0
    local pid
    pid="$(<"$SCRATCH/load/pid")"
    rm "$SCRATCH/load/pid"
    kill -TERM "$pid" 2>/dev/null || true
    while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    cat "$SCRATCH/load/log"
    [[ -f "$SCRATCH/load/soak.json" ]] || { echo "k6 left no results"; return 0; }
    read -r requests failed slowest < <(load_figures)
    load_text="$requests requests, $failed failed, slowest $slowest ms"
}

# A wrong answer may be one that counts as "other" or "refused" as well.
load_figures() {
    jq -r '.metrics | def count(name): (.[name].values.count // 0);
        [count("http_reqs"), ([count("wrong_answers"), count("other_answers") + count("refused")] | max),
         (.http_req_duration.values.max | round)] | @tsv' "$SCRATCH/load/soak.json"
}

# no_request_failed: ends the load, and the step if a request failed. At least a handful has to have been sent.
no_request_failed() {
    requests=0 failed=0
    end_load
    ((requests >= load_rate)) || fail "only $requests requests were sent"
    ((failed == 0)) || fail "$load_text"
}
