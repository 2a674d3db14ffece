# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# The files of nginx.

# On mounts of its own, so that every file is where nginx expects it, and nginx may listen on port 80.
check 'nginx takes its files, with and without TLS' nginx_takes_files
nginx_takes_files() {
    need nginx
    need openssl
    in_namespaces true
    local certificate="$scratch/certificate"
    mkdir -p "$certificate"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=sho.rt \
        -keyout "$certificate/privkey.pem" -out "$certificate/fullchain.pem"
    local machine
    for machine in one_node/lb-1 five_nodes/lb-1 five_nodes/lb-2; do
        test_nginx "$scratch/$machine/out"
    done
    # Without this the check would pass if nginx took any file.
    cp -r "$scratch/one_node/lb-1/out" "$scratch/broken"
    sed -i 's/max_fails=1/max_fails=one/' "$scratch/broken/etc/nginx/upstream.conf"
    if test_nginx "$scratch/broken"; then echo 'nginx takes anything'; exit 1; fi
}

test_nginx() {
    local result=0
    # shellcheck disable=SC2016 # for the other shell
    in_namespaces sh -euc '
        mount -t tmpfs tmpfs /var/log && mkdir /var/log/nginx
        mount -t tmpfs tmpfs /var/lib/nginx
        mount -t tmpfs tmpfs /run
        cp -r "$2" "$1/etc/nginx/tls"
        mount --bind "$1/etc/nginx" /etc/nginx
        # In a user namespace root is the only user.
        nginx -t -g "user root;"' sh "$1" "$scratch/certificate" || result=$?
    rm -rf "$1/etc/nginx/tls"
    return "$result"
}
