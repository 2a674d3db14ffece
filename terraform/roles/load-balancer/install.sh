#!/usr/bin/env bash
# Makes this Debian machine a load balancer: nginx with the repository's nginx/ files as they are, and upstream.conf with
# the web nodes' addresses. With VIRTUAL_ADDRESS also keepalived, so that another load balancer takes the address over.
#
# Run as root in the folder that has settings.env, base/, role/ and shared/nginx. Running it again changes what differs
# and nothing else. nginx is reloaded, not restarted.
set -euo pipefail

# shellcheck source=../base/role.sh
. "$(dirname "$0")/../base/role.sh"
role="$(dirname "$0")"

packages() {
    echo nginx-light
    if [[ -n "${VIRTUAL_ADDRESS:-}" ]]; then echo keepalived curl; fi
}

render() {
    need WEB_ADDRESSES ALL_LOAD_BALANCERS TLS
    addresses WEB_ADDRESSES ALL_LOAD_BALANCERS
    accept 'tcp dport 80'
    copy shared/nginx/nginx.conf /etc/nginx/nginx.conf
    copy shared/nginx/proxy.conf /etc/nginx/proxy.conf
    # nginx.conf includes the one name.
    case "$TLS" in
        true)
            copy shared/nginx/site-tls.conf /etc/nginx/site.conf
            accept 'tcp dport 443'
            ;;
        false) copy shared/nginx/site.conf /etc/nginx/site.conf ;;
        *) die "settings.env: TLS is true or false" ;;
    esac
    upstream shared/nginx/upstream.conf | file /etc/nginx/upstream.conf
    copy "$role/rotate-log" /usr/local/sbin/shunt-rotate-log 755
    copy "$role/shunt-rotate-log.service" /etc/systemd/system/shunt-rotate-log.service
    copy "$role/shunt-rotate-log.timer" /etc/systemd/system/shunt-rotate-log.timer
    if [[ -n "${VIRTUAL_ADDRESS:-}" ]]; then render_keepalived; fi
}

# The repository's file with each of its two server lines, the second of them a backup, replaced by one for each node with
# the same parameters.
upstream() {
    [[ -f "$1" ]] || die "$1 is missing"
    awk -v addresses="$WEB_ADDRESSES" '
        # An example for those who write the file by hand.
        /^[ \t]*#[ \t]*server / { next }
        /^[ \t]*server / {
            if (++servers > 2 || (servers == 2) != / backup;/) exit 1
            count = split(addresses, nodes, " ")
            for (i = 1; i <= count; i++) {
                line = $0
                node = nodes[i] ~ /:/ ? "[" nodes[i] "]" : nodes[i]
                if (!sub(/server [^ ;]+:8080/, "server " node ":8080", line)) exit 1
                print line
            }
            next
        }
        { print }
        END { if (servers != 2) exit 1 }' "$1" \
        || die "$1 is not as expected: it should have one server and one backup, with port 8080"
}

render_keepalived() {
    local address
    need VIRTUAL_ROUTER_ID PRIORITY
    numbers VIRTUAL_ROUTER_ID PRIORITY
    networks VIRTUAL_ADDRESS
    [[ "$VIRTUAL_ADDRESS" == */* ]] || die "settings.env: VIRTUAL_ADDRESS needs its prefix length, as in 10.0.0.99/24"
    PEERS='' INTERFACE="$(interface)"
    for address in $ALL_LOAD_BALANCERS; do
        [[ "$address" != "$ADDRESS" ]] || continue
        PEERS+="        $address"$'\n'
        accept 'meta l4proto 112' "$address"
    done
    PEERS="${PEERS%$'\n'}"
    [[ -n "$PEERS" ]] || die "settings.env: VIRTUAL_ADDRESS needs a second one of ALL_LOAD_BALANCERS"
    SCHEME=http
    if [[ "$TLS" == true ]]; then SCHEME=https; fi
    template "$role/keepalived.conf" /etc/keepalived/keepalived.conf
    template "$role/check-nginx" /usr/local/sbin/shunt-check-nginx 755
}

# The one that has this machine's address; while only rendering, any name.
interface() {
    local name
    name="$(ip -oneline address show to "$ADDRESS/32" 2>/dev/null | awk 'NR == 1 { print $2 }' || true)"
    if [[ -z "$name" ]]; then
        $rendering || die "no interface has the address $ADDRESS"
        name=eth0
    fi
    echo "${INTERFACE:-$name}"
}

check() {
    local answer
    if [[ "$TLS" == true ]]; then
        [[ -s /etc/nginx/tls/fullchain.pem && -s /etc/nginx/tls/privkey.pem ]] \
            || die "TLS needs a certificate in /etc/nginx/tls: fullchain.pem and privkey.pem"
    fi
    answer="$(nginx -t -q -c "$tree/etc/nginx/nginx.conf" 2>&1)" \
        || die "nginx would refuse its configuration, nothing was changed: $answer"
    if [[ -n "${VIRTUAL_ADDRESS:-}" ]]; then
        # Version 2.2.7 ends its own process group after a test, whatever it found: what it says counts.
        answer="$(setsid --wait keepalived --config-test --log-console --use-file "$tree/etc/keepalived/keepalived.conf" 2>&1 \
            | grep -vx Terminated || true)"
        [[ -z "$answer" ]] || die "keepalived would refuse its configuration, nothing was changed: $answer"
    fi
}

activate() {
    if [[ "$TLS" == true ]]; then mkdir -p -m 755 /var/lib/letsencrypt; fi
    # A certificate that was renewed is loaded as well.
    keep_running nginx.service reload /etc/nginx/nginx.conf /etc/nginx/proxy.conf /etc/nginx/site.conf \
        /etc/nginx/upstream.conf /etc/nginx/tls/fullchain.pem /etc/nginx/tls/privkey.pem
    keep_running shunt-rotate-log.timer restart /etc/systemd/system/shunt-rotate-log.timer

    if [[ -n "${VIRTUAL_ADDRESS:-}" ]]; then
        keep_running keepalived.service reload /etc/keepalived/keepalived.conf /usr/local/sbin/shunt-check-nginx
    else
        stop_and_disable keepalived.service
    fi
}

run_role "$@"
