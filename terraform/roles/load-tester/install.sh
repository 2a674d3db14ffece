#!/usr/bin/env bash
# Makes this Debian machine the load tester: k6, the scripts of load-testing/, and `shunt-proof`, which proves the
# limit.
#
# Run as root in the folder that has settings.env, base/, role/ and shared/load-testing. It installs the file `k6`, if
# there is one; else, on a machine without k6, Grafana's package from https://dl.k6.io/deb.
set -euo pipefail

# shellcheck source=../base/role.sh
. "$(dirname "$0")/../base/role.sh"
role="$(dirname "$0")"

# The key that k6's packages are signed with, as k6's documentation gives it.
key_fingerprint=C5AD17C747E3415A3642D57D77C6C491D6AC1D69
keyring=/usr/share/keyrings/k6-archive-keyring.asc

packages() {
    if comes_from_repository; then echo curl gnupg; fi
}

comes_from_repository() {
    [[ ! -f k6 ]] && { [[ -e /etc/apt/sources.list.d/k6.list ]] || ! command -v k6 >/dev/null; }
}

render() {
    need SERVICE_URL QUOTA_LIMIT QUOTA_WINDOW
    numbers QUOTA_LIMIT QUOTA_WINDOW
    [[ "$SERVICE_URL" =~ ^https?://[][A-Za-z0-9.:_-]+(/[A-Za-z0-9._/-]*)?$ ]] \
        || die "settings.env: SERVICE_URL: $SERVICE_URL is not the URL of a service"
    local script
    while read -r script; do
        copy "shared/load-testing/$script" "/opt/shunt-load-testing/$script"
    done < <(cd shared/load-testing && find . -name reports -prune -o -type f -printf '%P\n' | sort)
    template "$role/proof.conf" /etc/shunt-proof.conf
    copy "$role/shunt-proof" /usr/local/bin/shunt-proof 755
    if [[ -f k6 ]]; then copy k6 /usr/local/bin/k6 755; fi
    if comes_from_repository; then copy "$role/k6.list" /etc/apt/sources.list.d/k6.list; fi
}

check() {
    if [[ -f k6 ]]; then
        "$tree/usr/local/bin/k6" version >/dev/null 2>&1 || die "the k6 that was given does not run on this machine"
    fi
}

activate() {
    if comes_from_repository; then
        fetch_key
        ensure_packages k6
    fi
    command -v k6 >/dev/null || die "k6 is not installed"
}

fetch_key() {
    [[ ! -s "$keyring" ]] || return 0
    curl --fail --silent --show-error --location --max-time 60 --output "$scratch/k6.asc" https://dl.k6.io/key.gpg \
        || die "k6's key could not be downloaded from https://dl.k6.io"
    grep --quiet "^fpr:::::::::$key_fingerprint:" \
        <<<"$(gpg --homedir "$scratch" --batch --quiet --with-colons --show-keys "$scratch/k6.asc" 2>/dev/null)" \
        || die "https://dl.k6.io/key.gpg is not the key $key_fingerprint"
    install -m 644 "$scratch/k6.asc" "$keyring"
    echo "changed: $keyring"
}

run_role "$@"
