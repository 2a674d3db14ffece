# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# The log of nginx.

# shellcheck source=scripts/roles/load-balancer.sh
source scripts/roles/load-balancer.sh

check 'old logs of nginx go, also when the disk is full' old_logs_go_also_when_the_disk_is_full
old_logs_go_also_when_the_disk_is_full() {
    on_load_balancer try_rotation
}

try_rotation() {
    local log=/var/log/nginx/shunt.json result
    apply TLS=false
    [[ "$(stat -c '%a %G' "$log")" == '640 adm' ]]
    # shellcheck disable=SC2016 # for the other shell
    printf '%s\n' '#!/bin/sh' '[ "$*" = "kill --kill-who=main --signal=USR1 nginx.service" ] || exit 1' \
        'kill -USR1 "$(cat /run/nginx.pid)"' >/usr/local/sbin/systemctl
    chmod +x /usr/local/sbin/systemctl
    PATH="/usr/local/sbin:$PATH"

    # A log that is a month old, and a log that cannot be compressed: it is random, and the disk is full.
    head -c 1000 /dev/urandom >"$log-20200101T000000Z.gz"
    touch -d '30 days ago' "$log-20200101T000000Z.gz"
    head -c 2500000 /dev/urandom >>"$log"
    head -c 100M /dev/zero >/var/log/full 2>/dev/null || true
    result=0
    shunt-rotate-log --now || result=$?
    ((result == 1)) || { echo "exit code $result"; return 1; }
    [[ ! -e "$log-20200101T000000Z.gz" ]] || { echo 'an old log is still there'; return 1; }
    [[ -z "$(find /var/log/nginx -name '*.gz')" ]]
    [[ "$(stat -c %s "$log")" == 0 ]]

    # Once there is room, the old log is kept, only its owner and the group adm can read it, and nginx writes to the new
    # one.
    rm /var/log/full
    shunt-rotate-log
    [[ "$(find /var/log/nginx -name 'shunt.json-*' -printf '%M %g\n')" == '-rw-r----- adm' ]]
    curl --silent --output /dev/null http://127.0.0.1/
    wait_for_lines "$log" 1
    [[ "$(stat -c '%a %G' "$log")" == '640 adm' ]]
    sleep 1
    shunt-rotate-log --now
    [[ "$(find /var/log/nginx -name 'shunt.json-*.gz' | wc -l)" == 2 ]]
    [[ "$(zcat "$(find /var/log/nginx -name 'shunt.json-*.gz' | sort | tail -n 1)" | wc -l)" == 1 ]]

    # If the old logs take too much room, the oldest go.
    SHUNT_LOG_BYTES=100000 shunt-rotate-log
    [[ "$(find /var/log/nginx -name 'shunt.json-*.gz' | wc -l)" == 1 ]]

    # If the signal to nginx fails, its log stays where it is.
    curl --silent --output /dev/null http://127.0.0.1/
    wait_for_lines "$log" 1
    printf '#!/bin/sh\nexit 1\n' >/usr/local/sbin/systemctl
    if shunt-rotate-log --now; then return 1; fi
    [[ "$(wc -l <"$log")" == 1 && "$(find /var/log/nginx -name 'shunt.json-*' | wc -l)" == 1 ]]
}

wait_for_lines() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if (($(wc -l <"$1") >= $2)); then return; fi
        sleep 0.1
    done
    return 1
}
