# shellcheck shell=bash disable=SC2154,SC2034 # variables of the files that scripts/roles-check sources
# The machines of three set-ups: the folders that Terraform would send them, and the files that their roles render.

postgres_password=Check-postgres_1
redis_password=Check-redis_1

one_node() {
    for role in load-balancer web redis postgres load-tester; do settings "$role"; done
}

# With TLS, two load balancers and a virtual address, but no load tester.
five_nodes() {
    local web
    web="$(web_nodes 5)"
    local both=(ALL_LOAD_BALANCERS='10.0.0.100 10.0.0.101' VIRTUAL_ADDRESS=10.0.0.99/24 VIRTUAL_ROUTER_ID=51 PRIORITY=150 TLS=true)
    role=load-balancer
    settings load-balancer "${both[@]}" WEB_ADDRESSES="$web"
    settings load-balancer "${both[@]}" WEB_ADDRESSES="$web" NAME=lb-2 ADDRESS=10.0.0.101 PRIORITY=100
    settings web LOAD_BALANCER_ADDRESSES='10.0.0.100 10.0.0.101' MONITORING_NETWORKS='10.0.0.0/24 fd00::/8' \
        PUBLIC_URL=https://sho.rt MEMORY_MAX=1G ADMIN_NETWORKS=10.0.0.0/24 \
        'EXTRA_ENVIRONMENT_0=SHUNT__HTTP__DRAIN=10s' 'EXTRA_ENVIRONMENT_1=SHUNT__DATABASE__MAX_CONNECTIONS=8'
    settings redis WEB_ADDRESSES="$web" MAX_MEMORY=
    settings postgres WEB_ADDRESSES="$web" MAX_CONNECTIONS=112 AUTOMATIC_UPGRADES=false
}

# web_nodes COUNT: prints the addresses of so many web nodes.
web_nodes() {
    local number addresses=()
    for ((number = 111; number < 111 + $1; number++)); do addresses+=("10.0.0.$number"); done
    echo "${addresses[*]}"
}

# Servers that can run on this machine.
this_machine() {
    settings redis ADDRESS=127.0.0.2 WEB_ADDRESSES=127.0.0.1
    settings postgres ADDRESS=127.0.0.1 WEB_ADDRESSES=127.0.0.1
}

# settings ROLE KEY=VALUE...: makes the folder that Terraform would send a machine of the set-up $set_up. Its
# settings.env has the settings of the reference set-up, changed by these.
settings() {
    local role="$1" name address number=1
    shift
    case "$role" in
        load-balancer) name=lb-1 address=10.0.0.100 ;;
        web) name=web-1 address=10.0.0.111 ;;
        redis) name=redis address=10.0.0.130 ;;
        postgres) name=postgres address=10.0.0.200 ;;
        load-tester) name=load-tester address=10.0.0.160 ;;
    esac
    local -A value=(
        [ROLE]="$role" [NAME]="$name" [ADDRESS]="$address" [ADMIN_NETWORKS]='0.0.0.0/0 ::/0' [AUTOMATIC_UPGRADES]=true
    )
    case "$role" in
        load-balancer)
            value+=([WEB_ADDRESSES]=10.0.0.111 [ALL_LOAD_BALANCERS]=10.0.0.100 [VIRTUAL_ADDRESS]='' [TLS]=false
                [CLIENT_CONNECTIONS]=512)
            ;;
        web)
            value+=([LOAD_BALANCER_ADDRESSES]=10.0.0.100 [POSTGRES_ADDRESS]=10.0.0.200 [REDIS_ADDRESS]=10.0.0.130
                [DATABASE]=shunt [DATABASE_USER]=shunt [QUOTA]=10/minute [PUBLIC_URL]='' [MONITORING_NETWORKS]=''
                [MEMORY_MAX]=512M)
            ;;
        redis) value+=([WEB_ADDRESSES]=10.0.0.111 [MAX_MEMORY]=128mb) ;;
        postgres)
            value+=([WEB_ADDRESSES]=10.0.0.111 [DATABASE]=shunt [DATABASE_USER]=shunt [MAX_CONNECTIONS]=44
                [BACKUP_TIME]=03:15 [BACKUP_KEEP]=2)
            ;;
        load-tester) value+=([SERVICE_URL]=http://10.0.0.100 [QUOTA_LIMIT]=10 [QUOTA_WINDOW]=60) ;;
    esac
    local pair
    for pair in "$@"; do value["${pair%%=*}"]="${pair#*=}"; done

    # shellcheck disable=SC2154,SC2034 # render_all's
    local folder="$scratch/$set_up/${value[NAME]}"
    mkdir -p "$folder/shared"
    cp -r terraform/roles/base "$folder/base"
    cp -r "terraform/roles/$role" "$folder/role"
    case "$role" in
        load-balancer) cp -r nginx "$folder/shared/nginx" ;;
        redis) mkdir "$folder/shared/docker" && cp docker/redis.conf "$folder/shared/docker" ;;
        load-tester)
            mkdir "$folder/shared/load-testing"
            cp -r load-testing/*.js load-testing/lib "$folder/shared/load-testing"
            printf '#!/bin/sh\n' >"$folder/k6"
            ;;
    esac
    local key
    for key in "${!value[@]}"; do echo "$key='${value[$key]}'"; done | sort >"$folder/settings.env"
}

# render FOLDER OUT: renders for a machine with 2 GB, so that the result does not depend on this one.
render() {
    (cd "$1" && SECRETS_FILE="$scratch/secrets.env" MEMORY_KIB=2014720 POSTGRES_VERSION=15 bash role/install.sh --render "$2")
}
