# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# Addresses of the load balancer: its own, the virtual one, IPv6.

# shellcheck source=scripts/roles/load-balancer.sh
source scripts/roles/load-balancer.sh

check 'nginx starts on a machine without IPv6' nginx_starts_without_ipv6
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
    # With IPv6, if this machine has it.
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

check 'a load balancer that has lost its address does not take the virtual one' a_load_balancer_without_its_address_is_not_taken
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

check 'keepalived takes its file' keepalived_takes_file
keepalived_takes_file() {
    need keepalived optional
    in_namespaces true
    local machine
    for machine in lb-1 lb-2; do
        test_keepalived "$scratch/five_nodes/$machine/out/etc/keepalived/keepalived.conf"
    done
    # Without this the check would pass if keepalived took any file.
    sed 's/advert_int/advert_interval/' "$scratch/five_nodes/lb-1/out/etc/keepalived/keepalived.conf" >"$scratch/keepalived.conf"
    if test_keepalived "$scratch/keepalived.conf"; then echo 'keepalived takes anything'; exit 1; fi
    diff <(sed -n '/unicast_peer/,/}/p' "$scratch/five_nodes/lb-2/out/etc/keepalived/keepalived.conf" | tr -d ' ') \
        <(printf 'unicast_peer{\n10.0.0.100\n}\n')
    if [[ -e "$scratch/one_node/lb-1/out/etc/keepalived/keepalived.conf" ]]; then exit 1; fi
}

# Version 2.2.7 kills its own process group after a test, with any result, so its output counts and not its exit code.
# The warning about the script is left out: in a user namespace, the script's owner may not be root.
test_keepalived() {
    local answer
    # shellcheck disable=SC2016 # for the other shell
    answer="$(in_namespaces sh -euc '
        ip link add eth0 type veth peer name eth1
        setsid --wait keepalived --config-test --log-console --use-file "$1" || true' sh "$1" 2>&1 | grep -vx 'Terminated\|Disabling track script nginx due to insecure' || true)"
    echo "$answer"
    [[ -z "$answer" ]]
}
