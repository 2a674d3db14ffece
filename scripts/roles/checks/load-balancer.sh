# shellcheck shell=bash
# Checks of roles-check, which sources this file: the role of the load balancer, applied to mounts and a network of its own,
# with a real nginx. Only systemd is not there: units are started and reloaded by hand.

# shellcheck disable=SC2154 # roles-check's

# What install.sh ends with there: the steps of run_role, without those that every machine has.
driver() {
    # shellcheck disable=SC2016 # for the role
    printf '%s\n' 'keep_running() {' \
        '    [[ "$1" == nginx.service ]] || return 0' \
        '    if [[ ! -s /run/nginx.pid ]]; then nginx' \
        '    elif outdated "$1" "${@:3}"; then nginx -s reload; fi' \
        '    applied "$1" "${@:3}"' \
        '}' \
        'stop_and_disable() { :; }' \
        'umask 077' \
        'read_settings' \
        'state=/run/shunt-role scratch="$(mktemp -d -p /run)"' \
        'tree="$scratch/tree" manifest="$scratch/manifest" rendering=false' \
        'mkdir -p "$state" "$tree"' \
        ': >"$manifest"' \
        'render' 'check' 'install_rendered' 'activate'
}

# on_load_balancer FUNCTION: runs it where files of the role can be put in their places and nothing is left of it.
on_load_balancer() {
    need nginx
    need openssl
    need curl
    # Files belong to several users.
    ((EUID == 0)) || skip 'needs root (optional)'
    in_namespaces true
    local machine="$scratch/load-balancer"
    rm -rf "$machine"
    cp -r "$scratch/one_node/lb-1" "$machine"
    rm -r "$machine/out"
    driver >"$machine/driver.sh"
    sed -i 's|^run_role "\$@"$|. ./driver.sh|' "$machine/role/install.sh"
    grep -qx '\. ./driver.sh' "$machine/role/install.sh"
    export MACHINE="$machine" TLS_FOLDER="$machine/tls" scratch
    # shellcheck disable=SC2016 # for the other shell
    in_namespaces bash -euo pipefail -c '
        source scripts/roles/checks/load-balancer.sh
        mount -t tmpfs tmpfs /etc/nginx
        mount -t tmpfs -o size=8m tmpfs /var/log
        mkdir -m 755 /var/log/nginx
        mount -t tmpfs tmpfs /var/lib
        mkdir -m 755 /var/lib/nginx
        mount -t tmpfs tmpfs /run
        mount -t tmpfs tmpfs /usr/local/sbin
        mount -t tmpfs tmpfs /etc/systemd/system
        ip link set lo up
        # Also if what is tried fails.
        holders=()
        trap "kill \${holders[*]} \$(cat /run/nginx.pid) 2>/dev/null || true" EXIT
        "$1"' bash "$1"
}

# apply KEY=VALUE...: the role with these settings.
apply() {
    local pair
    cp "$scratch/one_node/lb-1/settings.env" "$MACHINE/settings.env"
    for pair in "$@"; do echo "${pair%%=*}='${pair#*=}'" >>"$MACHINE/settings.env"; done
    (cd "$MACHINE" && SECRETS_FILE=/nonexistent bash role/install.sh)
}

# certificate NAME: a certificate for it and its key, where put-secrets would put them.
certificate() {
    mkdir -p "$TLS_FOLDER"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
        -keyout "$TLS_FOLDER/privkey.pem" -out "$TLS_FOLDER/fullchain.pem" 2>/dev/null
}

# What is served, once it is what is expected: a reload is not done at once.
serves() {
    local tries subject
    for ((tries = 0; tries < 100; tries++)); do
        subject="$(openssl s_client -connect 127.0.0.1:443 </dev/null 2>/dev/null | openssl x509 -noout -subject 2>/dev/null || true)"
        if [[ "$subject" == *"CN = $1" ]]; then return; fi
        sleep 0.1
    done
    echo "served is $subject, not $1"
    return 1
}

answers() {
    curl --silent --fail --insecure --max-time 10 --output /dev/null "$1/.nginx/status"
}

installed() {
    find /etc/nginx /usr/local/sbin /etc/systemd/system -type f -exec sha256sum {} + | sort -k 2
    find /etc/nginx /usr/local/sbin /etc/systemd/system -printf '%M %u:%g %p\n' | sort
}

# refuses SENTENCE: the role does, with these words, and all is as it was; also after a restart.
refuses() {
    local said
    installed >/run/before
    if said="$(apply TLS=true 2>&1)"; then
        echo "taken: $1"
        return 1
    fi
    grep -F "$1" <<<"$said" || { echo "refused otherwise: $said"; return 1; }
    diff /run/before <(installed)
    nginx -t -q
    answers https://127.0.0.1
}

certificates_are_checked_first() {
    on_load_balancer try_certificates
}

try_certificates() {
    certificate one.example
    apply TLS=true
    serves one.example

    cp -r "$TLS_FOLDER" /run/one
    certificate two.example
    cp -r "$TLS_FOLDER" /run/two
    cp /run/one/privkey.pem "$TLS_FOLDER"
    refuses 'the certificate is not for this key, nothing was changed'
    echo 'no certificate' >"$TLS_FOLDER/fullchain.pem"
    refuses 'fullchain.pem is no certificate, nothing was changed'
    cp /run/two/fullchain.pem "$TLS_FOLDER"
    openssl pkey -in /run/two/privkey.pem -aes128 -passout pass:secret -out "$TLS_FOLDER/privkey.pem"
    refuses 'privkey.pem is no key without a passphrase, nothing was changed'
    rm "$TLS_FOLDER/privkey.pem"
    refuses 'TLS needs a certificate'
    serves one.example

    cp /run/two/* "$TLS_FOLDER"
    apply TLS=true
    serves two.example
    [[ "$(stat -c '%a %U' /etc/nginx/tls/privkey.pem)" == '600 root' ]]

    # Keys go when nginx runs without them, and not before.
    mkdir /run/unwilling
    # shellcheck disable=SC2016 # for the other shell
    printf '%s\n' '#!/bin/sh' '[ "$1" != -s ] || exit 1' "exec $(command -v nginx) \"\$@\"" >/run/unwilling/nginx
    chmod +x /run/unwilling/nginx
    if PATH="/run/unwilling:$PATH" apply TLS=false; then echo 'a reload that failed was not noticed'; return 1; fi
    [[ -s "$TLS_FOLDER/privkey.pem" ]]
    # No key of the role's is left that nothing uses.
    apply TLS=false
    [[ -z "$(find /etc/nginx "$TLS_FOLDER" -name '*.pem')" ]]
    answers http://127.0.0.1
    # One that it did not install stays, whatever it is called.
    mkdir -p /etc/nginx/tls
    cp /run/one/* /etc/nginx/tls
    apply TLS=false
    diff -r /run/one /etc/nginx/tls
    rm -r /etc/nginx/tls

    # As an earlier release of the role left them: they stay, and are checked.
    mkdir -p /etc/nginx/tls
    cp /run/one/* /etc/nginx/tls
    apply TLS=true
    serves one.example
    apply TLS=true
    cp /run/two/fullchain.pem /etc/nginx/tls
    if apply TLS=true; then return 1; fi
}

nginx_starts_without_ipv6() {
    on_load_balancer try_without_ipv6
}

try_without_ipv6() {
    local tls
    for tls in false true; do
        certificate sho.rt
        apply "TLS=$tls" IPV6=false
        answers http://127.0.0.1 || [[ "$tls" == true ]]
        eventually_listens 0.0.0.0
        if ss --listening --tcp --numeric --no-header | grep -F '[::]:'; then return 1; fi
        kill -QUIT "$(cat /run/nginx.pid)"
        while [[ -s /run/nginx.pid ]]; do sleep 0.1; done
    done
    # As this machine has it, if it has.
    apply TLS=true
    [[ ! -e /proc/net/if_inet6 ]] || eventually_listens '[::]'
    diff <(grep -c '\[::\]' nginx/site-tls.conf) <(grep -c '\[::\]' /etc/nginx/site.conf || true)
}

eventually_listens() {
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        if ss --listening --tcp --numeric --no-header | grep -qF "$1:80 "; then return; fi
        sleep 0.1
    done
    return 1
}

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

    # A month old; a log that cannot be compressed, because it is random and takes what room there was.
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

    # Once there is room. Nobody else may read what was kept, and nginx goes on in the new log.
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

    # The oldest go, if they are too many.
    SHUNT_LOG_BYTES=100000 shunt-rotate-log
    [[ "$(find /var/log/nginx -name 'shunt.json-*.gz' | wc -l)" == 1 ]]

    # If nginx cannot be told, its log stays where it is.
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

connections_of_a_client_are_bounded() {
    need nft
    need ip
    on_load_balancer try_connections
}

# From a network of its own, with several addresses of two clients of each kind.
try_connections() {
    local number
    ulimit -n 2000
    mkdir -p /run/netns
    ip netns add visitors
    ip link add lb0 type veth peer name eth0 netns visitors
    ip address add 10.9.0.1/24 dev lb0
    ip address add fd00:9::1/64 dev lb0 nodad
    ip link set lb0 up
    ip route add fd00:8::/32 dev lb0
    in_visitors ip link set eth0 up
    # Its route would be taken before those below.
    in_visitors ip address add fd00:9::2/64 dev eth0 nodad noprefixroute
    for number in 2 3; do in_visitors ip address add "10.9.0.$number/24" dev eth0; done
    for number in 1:1 1:2 1:3 2:1; do in_visitors ip address add "fd00:8:0:0${number%:*}::${number#*:}/64" dev eth0 nodad; done
    apply TLS=false
    nft --file "$scratch/one_node/lb-1/out/etc/nftables.conf"

    # 3 × 300 of one /64, while another one goes on. Each is idle: nginx has seen no head.
    visit fd00:9::1 300 fd00:8:0:1::{1,2,3}
    ((visits == 512)) || { echo "$visits connections of one /64"; return 1; }
    visit fd00:9::1 300 fd00:8:0:2::1
    ((visits == 300)) || { echo "$visits connections of another /64"; return 1; }
    visit 10.9.0.1 600 10.9.0.2
    ((visits == 512)) || { echo "$visits connections of one address"; return 1; }
    visit 10.9.0.1 300 10.9.0.3
    ((visits == 300)) || { echo "$visits connections of another address"; return 1; }

    # Behind another balancer, which is one client, there is no bound.
    local unbound="$MACHINE/unbound"
    cp "$scratch/one_node/lb-1/settings.env" "$MACHINE/settings.env"
    echo "CLIENT_CONNECTIONS='0'" >>"$MACHINE/settings.env"
    (cd "$MACHINE" && SECRETS_FILE=/nonexistent bash "$scratch/one_node/lb-1/role/install.sh" --render "$unbound")
    nft --file "$unbound/etc/nftables.conf"
    visit 10.9.0.1 600 10.9.0.3
    ((visits == 600)) || { echo "$visits connections without a bound"; return 1; }
}

in_visitors() {
    ip netns exec visitors "$@"
}

# visit SERVER COUNT ADDRESS...: opens as many connections from each address, holds them, and sets `visits` to how many were
# taken.
visit() {
    local server="$1" count="$2" route
    shift 2
    if [[ "$server" == *:* ]]; then route=fd00:9::/64; else route=10.9.0.0/24; fi
    rm -f /run/visits /run/holding
    mkfifo /run/holding
    # shellcheck disable=SC2016 # for the other shell
    (exec ip netns exec visitors bash -euc '
        server=$1 count=$2 route=$3 taken=0
        shift 3
        for address; do
            ip route replace "$route" dev eth0 src "$address"
            for ((number = 0; number < count; number++)); do
                if { exec {connection}<>"/dev/tcp/$server/80"; } 2>/dev/null; then taken=$((taken + 1)); fi
            done
        done
        echo "$taken" >/run/visits.new
        mv /run/visits.new /run/visits
        # Nobody writes there.
        read -r _ </run/holding' bash "$server" "$count" "$route" "$@") &
    holders+=("$!")
    until [[ -s /run/visits ]]; do
        kill -0 "${holders[-1]}"
        sleep 0.1
    done
    visits="$(cat /run/visits)"
}

a_load_balancer_without_its_address_is_not_taken() {
    need ip
    on_load_balancer try_address
}

try_address() {
    local check="$scratch/five_nodes/lb-1/out/usr/local/sbin/shunt-check-nginx"
    certificate sho.rt
    apply TLS=true
    serves sho.rt
    ip link add eth0 type veth peer name eth1
    ip address add 10.0.0.100/24 dev eth0
    sh "$check"
    ip address delete 10.0.0.100/24 dev eth0
    ip address add 10.0.0.107/24 dev eth0
    if sh "$check"; then return 1; fi
    ip address add 10.0.0.100/24 dev eth0
    sh "$check"
    kill -QUIT "$(cat /run/nginx.pid)"
    while [[ -s /run/nginx.pid ]]; do sleep 0.1; done
    if sh "$check"; then return 1; fi
}
