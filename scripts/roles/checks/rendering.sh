# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# What the roles render, and which settings they refuse.

check --first 'every role renders for every set-up' render_all
render_all() {
    printf "POSTGRES_PASSWORD='%s'\nREDIS_PASSWORD='%s'\n" "$postgres_password" "$redis_password" >"$scratch/secrets.env"
    for set_up in one_node five_nodes this_machine; do
        "$set_up"
        local machine
        for machine in "$scratch/$set_up"/*; do
            render "$machine" "$machine/out"
        done
    done
    # If a machine were missing, other checks would look at nothing.
    local trees=("$scratch"/*/*/out)
    ((${#trees[@]} == 12))
    touch "$scratch/rendered"
}

check 'rendering twice gives the same bytes' renders_the_same_again
renders_the_same_again() {
    local out
    for out in "$scratch"/*/*/out; do
        render "${out%/out}" "$scratch/again"
        diff -r "$out" "$scratch/again"
        diff <(modes "$out") <(modes "$scratch/again")
        rm -r "$scratch/again"
    done
}

modes() {
    (cd "$1" && find . -type f -printf '%m %p\n' | sort -k 2)
}

check 'no secret is in a file that everybody can read' no_secret_is_readable
no_secret_is_readable() {
    local file found=0
    printf '%s\n' "$postgres_password" "$redis_password" "$(printf '%s' "$redis_password" | sha256sum | cut -d ' ' -f 1)" \
        >"$scratch/words"
    while read -r file; do
        if [[ "$(find "$file" -perm -o=r)" ]]; then
            echo "everybody can read a secret in $file"
            exit 1
        fi
        found=$((found + 1))
    done < <(grep -rlFf "$scratch/words" "$scratch"/*/*/out)
    # The file of Redis's users has the password's hash, in three set-ups. This shows that the search finds something.
    ((found == 3))
    # No file has a password itself.
    if grep -rlF -e "$postgres_password" -e "$redis_password" "$scratch"/*/*/out; then exit 1; fi
}

check 'wrong settings are refused, by name' wrong_settings_are_refused
wrong_settings_are_refused() {
    refused web-1 'ADDRESS=ten' 'ADDRESS: ten is not an address'
    refused web-1 'LOAD_BALANCER_ADDRESSES=' 'LOAD_BALANCER_ADDRESSES is missing or empty'
    refused web-1 'MONITORING_NETWORKS=10.0.0.0/24; accept' 'MONITORING_NETWORKS: 10.0.0.0/24; is not a network'
    refused web-1 'EXTRA_ENVIRONMENT_0=nothing' 'EXTRA_ENVIRONMENT_0 is not like'
    refused web-1 'GUEST_AGENT=yes' 'GUEST_AGENT is true or false'
    refused lb-1 'WEB_ADDRESSES=' 'WEB_ADDRESSES is missing or empty'
    refused lb-1 'CLIENT_CONNECTIONS=many' 'CLIENT_CONNECTIONS: many is not a whole number from 1'
    refused lb-1 'VIRTUAL_ADDRESS=10.0.0.99' 'VIRTUAL_ROUTER_ID is missing'
    refused postgres 'DATABASE=x; DROP' 'DATABASE: x; DROP is not a name'
    refused postgres 'BACKUP_TIME=25:00' 'BACKUP_TIME: 25:00 is not like 03:15'
    refused redis 'MAX_MEMORY=much' 'MAX_MEMORY: much is not like 256mb'
    refused load-tester "SERVICE_URL=ftp://x" 'SERVICE_URL: ftp://x is not the URL'
}

# refused MACHINE KEY=VALUE SENTENCE: the role of this machine refuses this setting with these words.
refused() {
    local folder="$scratch/one_node/$1" answer
    cp "$folder/settings.env" "$scratch/settings.env"
    echo "${2%%=*}='${2#*=}'" >>"$folder/settings.env"
    if answer="$(render "$folder" "$scratch/refused" 2>&1)"; then
        echo "$1 takes $2"
        exit 1
    fi
    cp "$scratch/settings.env" "$folder/settings.env"
    rm -rf "$scratch/refused"
    grep -F -- "$3" <<<"$answer" || { echo "$2 was refused otherwise: $answer"; exit 1; }
}

check 'files of the repository are the same on the machines' files_are_not_copies
files_are_not_copies() {
    local plain="$scratch/one_node/lb-1/out/etc/nginx" tls="$scratch/five_nodes/lb-1/out/etc/nginx" file kind number
    for file in nginx.conf proxy.conf site.conf; do cmp "nginx/$file" "$plain/$file"; done
    cmp nginx/site-tls.conf "$tls/site.conf"
    cmp docker/redis.conf "$scratch/one_node/redis/out/etc/redis/docker-redis.conf"
    diff -r --exclude=reports --exclude=README.md load-testing "$scratch/one_node/load-tester/out/opt/shunt-load-testing"
    # upstream.conf differs in its servers only, and those differ in their addresses only.
    diff <(grep -v '^ *#* *server ' nginx/upstream.conf) <(grep -v '^ *server ' "$tls/upstream.conf")
    for kind in max_fails=1 backup; do
        for number in 1 2 3 4 5; do
            sed -n "/$kind/s/^    server 127.0.0.1/    server 10.0.0.$((110 + number))/p" nginx/upstream.conf
        done
    done | diff - <(grep '^ *server ' "$tls/upstream.conf")
}
