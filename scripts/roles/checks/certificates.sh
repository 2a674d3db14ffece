# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# Certificates of the load balancer.

# shellcheck source=scripts/roles/load-balancer.sh
source scripts/roles/load-balancer.sh

check 'a certificate is checked before it takes the place of another, and goes when TLS does' certificates_are_checked_first
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

    # The role removes a key only once nginx runs without it.
    mkdir /run/unwilling
    # shellcheck disable=SC2016 # for the other shell
    printf '%s\n' '#!/bin/sh' '[ "$1" != -s ] || exit 1' "exec $(command -v nginx) \"\$@\"" >/run/unwilling/nginx
    chmod +x /run/unwilling/nginx
    if PATH="/run/unwilling:$PATH" apply TLS=false; then echo 'a reload that failed was not noticed'; return 1; fi
    [[ -s "$TLS_FOLDER/privkey.pem" ]]
    # It leaves no unused key of its own.
    apply TLS=false
    [[ -z "$(find /etc/nginx "$TLS_FOLDER" -name '*.pem')" ]]
    answers http://127.0.0.1
    # A key that the role did not install stays, even under the same name.
    mkdir -p /etc/nginx/tls
    cp /run/one/* /etc/nginx/tls
    apply TLS=false
    diff -r /run/one /etc/nginx/tls
    rm -r /etc/nginx/tls

    # A certificate and key that an earlier release of the role left: they stay, and are checked.
    mkdir -p /etc/nginx/tls
    cp /run/one/* /etc/nginx/tls
    apply TLS=true
    serves one.example
    apply TLS=true
    cp /run/two/fullchain.pem /etc/nginx/tls
    if apply TLS=true; then return 1; fi
}
