#!/usr/bin/env bash
# Makes this Debian machine a web node: installs what the service needs, and `shunt-release`, which brings releases.
#
# Run as root in the folder that has settings.env, base/ and role/. Running it again changes what differs and nothing
# else. It neither starts nor restarts the service: a release does, one node after the other.
set -euo pipefail

# shellcheck source=../base/role.sh
. "$(dirname "$0")/../base/role.sh"
role="$(dirname "$0")"

packages() {
    :
}

render() {
    need LOAD_BALANCER_ADDRESSES POSTGRES_ADDRESS REDIS_ADDRESS DATABASE DATABASE_USER QUOTA MEMORY_MAX
    addresses LOAD_BALANCER_ADDRESSES POSTGRES_ADDRESS REDIS_ADDRESS
    networks MONITORING_NETWORKS
    identifiers DATABASE DATABASE_USER
    [[ "$MEMORY_MAX" =~ ^[1-9][0-9]*[KMG]?$ ]] || die "settings.env: MEMORY_MAX: $MEMORY_MAX is not like 512M"

    # shellcheck disable=SC2086 # lists
    {
        accept 'tcp dport 8080' $LOAD_BALANCER_ADDRESSES
        if [[ -n "${MONITORING_NETWORKS:-}" ]]; then accept 'tcp dport 9180' $MONITORING_NETWORKS; fi
    }

    STOP_TIMEOUT="$(stop_timeout)"
    IP_ADDRESS_ALLOW="$(peers)"
    # A release takes a copy of both, so that going back to the release before restores them too.
    template "$role/shunt.service" /etc/shunt/shunt.service
    environment | file /etc/shunt/web.env 600
    copy "$role/shunt-release" /usr/local/sbin/shunt-release 755
    copy "$role/shunt-settle.service" /etc/systemd/system/shunt-settle.service
}

# The service's environment. shunt-release puts in the passwords, which are only in /etc/shunt/secrets.env and in the
# releases.
environment() {
    local management=127.0.0.1:9180 number name line
    # On all addresses, because this machine asks too. The firewall admits MONITORING_NETWORKS only.
    [[ -z "${MONITORING_NETWORKS:-}" ]] || management=0.0.0.0:9180
    assign SHUNT__HTTP__BIND "$(host "$ADDRESS"):8080"
    assign SHUNT__HTTP__TRUSTED_PROXIES "${LOAD_BALANCER_ADDRESSES// /,}"
    [[ -z "${PUBLIC_URL:-}" ]] || assign SHUNT__HTTP__PUBLIC_URL "$PUBLIC_URL"
    assign SHUNT__MANAGEMENT__BIND "$management"
    assign SHUNT__LIMITER__QUOTA "$QUOTA"
    assign SHUNT__LOG__FORMAT json
    assign DATABASE_URL "postgres://$DATABASE_USER:@POSTGRES_PASSWORD@@$(host "$POSTGRES_ADDRESS"):5432/$DATABASE"
    assign REDIS_URL "redis://shunt:@REDIS_PASSWORD@@$(host "$REDIS_ADDRESS"):6379"
    # The last assignment wins.
    for number in $(further); do
        name="EXTRA_ENVIRONMENT_$number"
        line="${!name}"
        [[ "$line" =~ ^[A-Z][A-Z0-9_]*= ]] || die "settings.env: $name is not like SHUNT__SECTION__KEY=value"
        assign "${line%%=*}" "${line#*=}"
    done
}

further() {
    compgen -A variable EXTRA_ENVIRONMENT_ | sed 's/^EXTRA_ENVIRONMENT_//' | grep -x '[0-9]*' | sort -n || true
}

# assign NAME VALUE: prints a line that systemd and a shell read alike.
assign() {
    local value="$2"
    [[ "$value" != *$'\n'* ]] || die "$1 has more than one line"
    value="${value//\\/\\\\}"
    value="${value//\"/\\\"}"
    value="${value//\$/\\\$}"
    value="${value//\`/\\\`}"
    printf '%s="%s"\n' "$1" "$value"
}

host() {
    if [[ "$1" == *:* ]]; then echo "[$1]"; else echo "$1"; fi
}

# Time for the drain, for the requests that finish after it, and ten seconds more.
stop_timeout() {
    echo $(($(seconds_of SHUNT__HTTP__DRAIN 5) + $(seconds_of SHUNT__HTTP__SHUTDOWN_TIMEOUT 30) + 10))
}

# seconds_of NAME DEFAULT: prints a duration of the further settings, rounded up. If it is written in an uncommon way,
# prints the longest that may be set.
seconds_of() {
    local number name value="$2s"
    for number in $(further); do
        name="EXTRA_ENVIRONMENT_$number"
        if [[ "${!name}" == "$1="* ]]; then value="${!name#*=}"; fi
    done
    if [[ "$value" =~ ^([0-9]{1,9})(ms|s|m)$ ]]; then
        case "${BASH_REMATCH[2]}" in
            ms) echo $((BASH_REMATCH[1] / 1000 + 1)) ;;
            s) echo "${BASH_REMATCH[1]}" ;;
            m) echo $((BASH_REMATCH[1] * 60)) ;;
        esac
    else
        echo 600
    fi
}

# The addresses that the service may connect to. If the operator has chosen other servers, this role does not know
# their addresses.
peers() {
    local number name
    for number in $(further); do
        name="EXTRA_ENVIRONMENT_$number"
        case "${!name}" in
            SHUNT__REDIS__URL* | SHUNT__DATABASE__URL* | REDIS_URL* | DATABASE_URL*)
                echo any
                return
                ;;
        esac
    done
    # In figures: systemd-run, for migrations, knows names only where they stand alone.
    echo 127.0.0.0/8 ::1/128 "$ADDRESS" "$LOAD_BALANCER_ADDRESSES" "$POSTGRES_ADDRESS" "$REDIS_ADDRESS" ${MONITORING_NETWORKS:+"$MONITORING_NETWORKS"}
}

check() {
    need_secret POSTGRES_PASSWORD
    need_secret REDIS_PASSWORD
    local answer
    # The release may not be there yet, so another program stands in for it.
    mkdir "$scratch/unit"
    sed 's|^\(ExecStart\(Pre\)\?\)=.*|\1=/bin/true|' "$tree/etc/shunt/shunt.service" >"$scratch/unit/shunt.service"
    answer="$(systemd-analyze verify --man=no "$scratch/unit/shunt.service" 2>&1 | grep shunt.service || true)"
    [[ -z "$answer" ]] || die "systemd would refuse the unit, nothing was changed: $answer"
}

activate() {
    if [[ ! -d /opt/shunt/releases ]]; then
        install -d -m 755 /opt/shunt /opt/shunt/releases
        echo 'created: /opt/shunt/releases'
    fi
    if ! systemctl is-enabled --quiet shunt-settle.service 2>/dev/null; then
        systemctl enable --quiet shunt-settle.service 2>/dev/null || die "shunt-settle.service cannot be enabled"
        echo 'enabled: shunt-settle.service'
    fi
}

run_role "$@"
