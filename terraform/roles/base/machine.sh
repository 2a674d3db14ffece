# shellcheck shell=bash
# What every machine has: a firewall, sshd without passwords, security upgrades, and on Proxmox VE the guest agent.

# shellcheck disable=SC2154 # variables of role.sh, which sources this file

# Rules of the firewall, which roles add to with `accept`.
rules=()

# accept MATCH [NETWORK...]: accepts packets that match, from these networks; without networks, from everywhere.
accept() {
    local match="$1" network
    shift
    if (($# == 0)); then
        rules+=("$match accept")
    fi
    for network in "$@"; do
        if [[ "$network" == *:* ]]; then
            rules+=("ip6 saddr $network $match accept")
        else
            rules+=("ip saddr $network $match accept")
        fi
    done
}

machine_packages() {
    echo nftables iproute2 openssh-server ca-certificates procps
    if [[ "${AUTOMATIC_UPGRADES:-true}" == true ]]; then echo unattended-upgrades; fi
    # On Proxmox VE the host shuts the machine down through the agent. It is installed even if the host has not given
    # the machine the device yet: the next restart does that, and from then on udev starts the service.
    if [[ "${GUEST_AGENT:-false}" == true ]]; then echo qemu-guest-agent; fi
}

render_machine() {
    local FIREWALL_RULES AUTOMATIC
    [[ "${SSH_PORT:=22}" =~ ^[1-9][0-9]*$ ]] || die "settings.env: SSH_PORT: $SSH_PORT is not a port"
    # The operator's rule comes first, and no rule before it refuses anything.
    local others=("${rules[@]}")
    rules=()
    # shellcheck disable=SC2086 # a list
    accept "tcp dport $SSH_PORT" $ADMIN_NETWORKS
    rules+=("${others[@]}")
    FIREWALL_RULES="$(printf '        %s\n' "${rules[@]}")"
    template "${roles_base:?}/nftables.conf" /etc/nftables.conf
    copy "${roles_base:?}/sshd.conf" /etc/ssh/sshd_config.d/10-shunt.conf
    copy "${roles_base:?}/sysctl.conf" /etc/sysctl.d/60-shunt.conf
    copy "${roles_base:?}/await-address" /usr/local/sbin/shunt-await-address 755

    case "${AUTOMATIC_UPGRADES:-true}" in
        true) AUTOMATIC=1 ;;
        false) AUTOMATIC=0 ;;
        *) die "settings.env: AUTOMATIC_UPGRADES is true or false" ;;
    esac
    template "${roles_base:?}/apt.conf" /etc/apt/apt.conf.d/60shunt
    [[ "${GUEST_AGENT:-false}" =~ ^(true|false)$ ]] || die "settings.env: GUEST_AGENT is true or false"
}

check_machine() {
    local answer
    answer="$(nft --check --file "$tree/etc/nftables.conf" 2>&1)" \
        || die "the firewall's rules are wrong, nothing was changed: $answer"
    check_operator_can_log_in

    # Checks it as sshd will read it: this file comes first, and sshd takes the first value that it finds.
    mkdir -p /run/sshd
    printf 'Include %s\nInclude /etc/ssh/sshd_config\n' "$tree/etc/ssh/sshd_config.d/10-shunt.conf" >"$scratch/sshd_config"
    answer="$(/usr/sbin/sshd -t -f "$scratch/sshd_config" 2>&1)" \
        || die "sshd would refuse its configuration, nothing was changed: $answer"
    answer="$(apt-config --config-file="$tree/etc/apt/apt.conf.d/60shunt" dump 2>&1 >/dev/null)" \
        || die "apt would refuse its configuration, nothing was changed: $answer"
}

# Neither the firewall nor the end of passwords may lock out the operator who is logged in now.
check_operator_can_log_in() {
    local settings sessions peer peers=() network
    settings="$(/usr/sbin/sshd -T 2>/dev/null)" || die "sshd -T fails: sshd's configuration is broken already"
    grep --quiet --line-regexp "port $SSH_PORT" <<<"$settings" \
        || die "sshd listens on $(grep '^port ' <<<"$settings"), and the firewall would admit $SSH_PORT only: set SSH_PORT"
    # A failure does not mean that no operator is logged in.
    sessions="$(ss --no-header --tcp --numeric state established "sport = :$SSH_PORT" \
        | awk '{ sub(/:[0-9]+$/, "", $NF); gsub(/[][]/, "", $NF); sub(/^::ffff:/, "", $NF); sub(/%.*/, "", $NF); print $NF }' | sort -u)" \
        || die "cannot find out who is logged in now. Nothing was changed."
    [[ -z "$sessions" ]] || mapfile -t peers <<<"$sessions"
    if ((${#peers[@]})); then
        for peer in "${peers[@]}"; do
            for network in $ADMIN_NETWORKS; do
                if is_within "$peer" "$network"; then break 2; fi
            done
            peer=
        done
        [[ -n "$peer" ]] || die "nobody who is logged in now (${peers[*]}) is in ADMIN_NETWORKS ($ADMIN_NETWORKS):" \
            "the firewall would shut you out. Nothing was changed."
    fi

    local home
    for home in /root "$(getent passwd "${SUDO_USER:-root}" | cut -d : -f 6)"; do
        if [[ -s "$home/.ssh/authorized_keys" ]]; then return; fi
    done
    if grep --quiet --extended-regexp '^(authorizedkeyscommand|trustedusercakeys) /' <<<"$settings"; then
        return
    fi
    die "nobody has a key in ~/.ssh/authorized_keys, and sshd is about to take no passwords. Nothing was changed."
}

# is_within ADDRESS NETWORK. IPv6 networks are compared as text, apart from ::/0.
is_within() {
    local address="$1" network="${2%/*}" prefix=32 shift
    case "$1,$2" in
        *:*,::/0) return 0 ;;
        *:*,*:*)
            [[ "$address" == "$network" || ("$2" == */* && "$address" == "${network%%::*}":*) ]]
            return
            ;;
        *:*) return 1 ;;
    esac
    [[ "$2" != *:* ]] || return 1
    [[ "$2" != */* ]] || prefix="${2#*/}"
    ((prefix > 0)) || return 0
    shift=$((32 - prefix))
    (($(number_of "$address") >> shift == $(number_of "$network") >> shift))
}

number_of() {
    local a b c d
    IFS=. read -r a b c d <<<"$1"
    echo $(((a << 24) + (b << 16) + (c << 8) + d))
}

activate_machine() {
    local answer
    if [[ " ${changed[*]} " == *' /etc/systemd/system/'* ]]; then
        systemctl daemon-reload
    fi
    if outdated sysctl /etc/sysctl.d/60-shunt.conf; then
        # A container may not be allowed to set this; then its host must.
        answer="$(sysctl --quiet --load /etc/sysctl.d/60-shunt.conf 2>&1)" || echo "sysctl: $answer" >&2
        applied sysctl /etc/sysctl.d/60-shunt.conf
    fi
    keep_running nftables.service reload /etc/nftables.conf
    # An enabled firewall may have been flushed since.
    if ! nft list table inet shunt >/dev/null 2>&1; then
        nft --file /etc/nftables.conf
        echo "reloaded: nftables.service"
    fi

    if [[ "${GUEST_AGENT:-false}" == true && -e /dev/virtio-ports/org.qemu.guest_agent.0 ]] \
        && ! systemctl is-active --quiet qemu-guest-agent.service; then
        systemctl start qemu-guest-agent.service || die "the guest agent does not start: the host could not shut this machine down"
        echo 'started: qemu-guest-agent.service'
    fi

    if outdated ssh /etc/ssh/sshd_config.d/10-shunt.conf; then
        if ! answer="$(/usr/sbin/sshd -t 2>&1)"; then
            undo /etc/ssh/sshd_config.d/10-shunt.conf
            die "sshd refuses its configuration: $answer"
        fi
        # If systemd starts an sshd for each connection, there is nothing to reload.
        if systemctl is-active --quiet ssh.service; then
            systemctl reload ssh.service
            echo 'reloaded: ssh.service'
        fi
        applied ssh /etc/ssh/sshd_config.d/10-shunt.conf
    fi
    grep --quiet --line-regexp 'passwordauthentication no' <<<"$(/usr/sbin/sshd -T 2>/dev/null)" \
        || die "sshd still takes passwords: a file in /etc/ssh/sshd_config.d comes before 10-shunt.conf"
    if [[ "${AUTOMATIC_UPGRADES:-true}" == true ]]; then
        local timer
        for timer in apt-daily.timer apt-daily-upgrade.timer; do
            keep_running "$timer" restart
        done
    fi
}
