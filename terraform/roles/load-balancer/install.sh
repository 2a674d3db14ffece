#!/usr/bin/env bash
# Makes this Debian machine a load balancer: nginx with the repository's nginx/ files as they are, and upstream.conf
# with the web nodes' addresses. With VIRTUAL_ADDRESS also keepalived, so that another load balancer takes the address
# over.
#
# Run as root in the folder that has settings.env, base/, role/ and shared/nginx. Running it again changes what differs
# and nothing else. nginx is reloaded, not restarted.
set -euo pipefail

# shellcheck source=../base/role.sh
. "$(dirname "$0")/../base/role.sh"
role="$(dirname "$0")"

# put-secrets puts a certificate and its key here: fullchain.pem and privkey.pem. nginx gets copies, once they are
# checked.
tls_folder="${TLS_FOLDER:-/etc/shunt/tls}"

packages() {
    echo nginx-light
    if [[ "${TLS:-}" == true ]]; then echo openssl; fi
    if [[ -n "${VIRTUAL_ADDRESS:-}" ]]; then echo keepalived curl; fi
}

render() {
    need WEB_ADDRESSES ALL_LOAD_BALANCERS TLS CLIENT_CONNECTIONS
    addresses WEB_ADDRESSES ALL_LOAD_BALANCERS
    [[ "$CLIENT_CONNECTIONS" == 0 ]] || numbers CLIENT_CONNECTIONS
    if [[ "$TLS" == true ]]; then bound_connections '{ 80, 443 }'; else bound_connections 80; fi
    accept 'tcp dport 80'
    copy shared/nginx/nginx.conf /etc/nginx/nginx.conf
    copy shared/nginx/proxy.conf /etc/nginx/proxy.conf
    # nginx.conf includes this one name.
    case "$TLS" in
        true)
            site shared/nginx/site-tls.conf | file /etc/nginx/site.conf
            accept 'tcp dport 443'
            render_certificate
            ;;
        false) site shared/nginx/site.conf | file /etc/nginx/site.conf ;;
        *) die "settings.env: TLS is true or false" ;;
    esac
    upstream shared/nginx/upstream.conf | file /etc/nginx/upstream.conf
    copy "$role/rotate-log" /usr/local/sbin/shunt-rotate-log 755
    copy "$role/shunt-rotate-log.service" /etc/systemd/system/shunt-rotate-log.service
    copy "$role/shunt-rotate-log.timer" /etc/systemd/system/shunt-rotate-log.timer
    if [[ -n "${VIRTUAL_ADDRESS:-}" ]]; then render_keepalived; fi
}

# bound_connections PORTS: bounds the connections of a client to CLIENT_CONNECTIONS, whatever it does on them; 0 sets no
# bound, for use behind another proxy, which is a single client. Clients are those of nginx, which itself counts
# requests, and only once it has read their heads.
bound_connections() {
    local most="$CLIENT_CONNECTIONS" client
    [[ "$most" != 0 ]] || return 0
    for client in 'clients4 size 65535 { ip saddr' 'clients6 size 65535 { ip6 saddr and ffff:ffff:ffff:ffff::'; do
        rules+=("tcp dport $1 ct state new meter $client ct count over $most } reject with tcp reset")
    done
}

# The repository's file, without IPv6 on a machine that has none: nginx would not start.
site() {
    [[ -f "$1" ]] || die "$1 is missing"
    if [[ "${IPV6:-$(has_ipv6)}" == true ]]; then cat "$1"; else sed '/^ *listen \[::\]:/d' "$1"; fi
}

has_ipv6() {
    if [[ -e /proc/net/if_inet6 ]]; then echo true; else echo false; fi
}

# The certificate that put-secrets brought; else one that it put into nginx's folder in earlier releases. A link there
# belongs to another program, such as certbot.
render_certificate() {
    local folder="$tls_folder" file
    if [[ ! -e "$folder/fullchain.pem" && ! -e "$folder/privkey.pem" ]]; then folder=/etc/nginx/tls; fi
    for file in fullchain.pem privkey.pem; do
        if [[ -f "$folder/$file" && ! -L "$folder/$file" ]]; then copy "$folder/$file" "/etc/nginx/tls/$file" 600; fi
    done
}

# The repository's file. Each of its two server lines, of which the second is a backup, becomes one line for each node,
# with the same parameters.
upstream() {
    [[ -f "$1" ]] || die "$1 is missing"
    awk -v addresses="$WEB_ADDRESSES" '
        # An example for readers who write the file by hand.
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

# The interface with this machine's address; any name, if this run only renders.
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
    # A copy of the files that nginx will read, with the new certificate.
    cp -r "$tree/etc/nginx" "$scratch/nginx"
    if [[ "$TLS" == true ]]; then
        [[ -e "$scratch/nginx/tls" || ! -e /etc/nginx/tls ]] || cp -rL /etc/nginx/tls "$scratch/nginx/tls"
        check_certificate "$scratch/nginx/tls"
        sed -i "s|/etc/nginx/tls/|$scratch/nginx/tls/|" "$scratch/nginx/site.conf"
    fi
    answer="$(nginx -t -q -c "$scratch/nginx/nginx.conf" 2>&1)" \
        || die "nginx would refuse its configuration, nothing was changed: $answer"
    if [[ -n "${VIRTUAL_ADDRESS:-}" ]]; then
        # Version 2.2.7 kills its own process group after a test, with any result, so its output counts.
        answer="$(setsid --wait keepalived --config-test --log-console --use-file "$tree/etc/keepalived/keepalived.conf" 2>&1 \
            | grep -vx Terminated || true)"
        [[ -z "$answer" ]] || die "keepalived would refuse its configuration, nothing was changed: $answer"
    fi
}

# check_certificate FOLDER: nginx would find the same errors, but report them in OpenSSL's words.
check_certificate() {
    local certificate key
    [[ -s "$1/fullchain.pem" && -s "$1/privkey.pem" ]] \
        || die "TLS needs a certificate: fullchain.pem and privkey.pem in $tls_folder. Nothing was changed."
    certificate="$(openssl x509 -in "$1/fullchain.pem" -noout -pubkey 2>/dev/null)" \
        || die "fullchain.pem is no certificate, nothing was changed"
    # openssl must not ask for the passphrase of a key.
    key="$(openssl pkey -in "$1/privkey.pem" -passin pass: -pubout 2>/dev/null)" \
        || die "privkey.pem is no key without a passphrase, nothing was changed"
    [[ "$certificate" == "$key" ]] || die "the certificate is not for this key, nothing was changed"
}

activate() {
    private_log
    if [[ "$TLS" == true ]]; then mkdir -p -m 755 /var/lib/letsencrypt; fi
    # A renewed certificate causes a reload, too.
    keep_running nginx.service reload /etc/nginx/nginx.conf /etc/nginx/proxy.conf /etc/nginx/site.conf \
        /etc/nginx/upstream.conf /etc/nginx/tls/fullchain.pem /etc/nginx/tls/privkey.pem
    # Only once nginx runs without the keys that put-secrets brought: an unused key is only a risk. Their copies were
    # removed with all other files that this role no longer installs. Other files in nginx's folder are not the role's.
    if [[ "$TLS" == false ]]; then remove_keys "$tls_folder"; fi
    keep_running shunt-rotate-log.timer restart /etc/systemd/system/shunt-rotate-log.timer

    if [[ -n "${VIRTUAL_ADDRESS:-}" ]]; then
        keep_running keepalived.service reload /etc/keepalived/keepalived.conf /usr/local/sbin/shunt-check-nginx
    else
        stop_and_disable keepalived.service
    fi
}

# remove_keys FOLDER
remove_keys() {
    local path
    for path in "$1/fullchain.pem" "$1/privkey.pem"; do
        [[ -e "$path" || -L "$path" ]] || continue
        rm -f "$path"
        echo "removed: $path"
    done
}

# The access log names clients, so it must not be readable by everybody. nginx makes it readable, even when it only
# checks its configuration. shunt-rotate-log keeps these permissions.
private_log() {
    local log=/var/log/nginx/shunt.json
    [[ -e "$log" ]] || install -m 640 /dev/null "$log"
    find /var/log/nginx -maxdepth 1 -name 'shunt.json*' \( -perm /o=rwx -o ! -group adm \) \
        -exec chgrp adm {} + -exec chmod 640 {} +
}

run_role "$@"
