# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# A load balancer: its role is applied to mounts and a network of their own, with a real nginx. Only systemd is missing:
# the checks start and reload units themselves.

# The end of install.sh for these checks: the steps of run_role, without those that every machine has.
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

# on_load_balancer FUNCTION: runs the function where the role can put its files in their places, and removes them all.
on_load_balancer() {
    need nginx
    need openssl
    need curl
    # The files belong to several users.
    ((EUID == 0)) || skip 'needs root (optional)'
    in_namespaces true
    local machine="$scratch/load-balancer"
    rm -rf "$machine"
    cp -r "$scratch/one_node/lb-1" "$machine"
    rm -r "$machine/out"
    driver >"$machine/driver.sh"
    sed -i 's|^run_role "\$@"$|. ./driver.sh|' "$machine/role/install.sh"
    grep -qx '\. ./driver.sh' "$machine/role/install.sh"
    export MACHINE="$machine" TLS_FOLDER="$machine/tls"
    script_for "$1" scratch MACHINE TLS_FOLDER >"$scratch/on-load-balancer" <<'END'
mount -t tmpfs tmpfs /etc/nginx
mount -t tmpfs -o size=8m tmpfs /var/log
mkdir -m 755 /var/log/nginx
mount -t tmpfs tmpfs /var/lib
mkdir -m 755 /var/lib/nginx
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /usr/local/sbin
mount -t tmpfs tmpfs /etc/systemd/system
ip link set lo up
# This runs even if the function fails.
holders=()
trap 'kill ${holders[*]} $(cat /run/nginx.pid) 2>/dev/null || true' EXIT
END
    in_namespaces bash "$scratch/on-load-balancer"
}

# apply KEY=VALUE...: applies the role with these settings.
apply() {
    local pair
    cp "$scratch/one_node/lb-1/settings.env" "$MACHINE/settings.env"
    for pair in "$@"; do echo "${pair%%=*}='${pair#*=}'" >>"$MACHINE/settings.env"; done
    (cd "$MACHINE" && SECRETS_FILE=/nonexistent bash role/install.sh)
}

# certificate NAME: makes a certificate for this name, and its key, where put-secrets would put them.
certificate() {
    mkdir -p "$TLS_FOLDER"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
        -keyout "$TLS_FOLDER/privkey.pem" -out "$TLS_FOLDER/fullchain.pem" 2>/dev/null
}

# serves NAME: waits until nginx serves the certificate of this name. A reload takes a moment.
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

# refuses SENTENCE: the role refuses to apply TLS with these words, and changes nothing, so nginx still starts.
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
