# shellcheck shell=bash disable=SC2154,SC2034 # variables of the files that scripts/roles-check sources
# What every machine has: a firewall, sshd, upgrades.

check 'the firewalls open the ports of the picture, and no other' ports_are_those_of_the_picture
ports_are_those_of_the_picture() {
    local ssh=('ip saddr 0.0.0.0/0 tcp dport 22' 'ip6 saddr ::/0 tcp dport 22')
    opens one_node/lb-1 "${ssh[@]}" 'tcp dport 80'
    opens one_node/web-1 "${ssh[@]}" 'ip saddr 10.0.0.100 tcp dport 8080'
    opens one_node/redis "${ssh[@]}" 'ip saddr 10.0.0.111 tcp dport 6379'
    opens one_node/postgres "${ssh[@]}" 'ip saddr 10.0.0.111 tcp dport 5432'
    opens one_node/load-tester "${ssh[@]}"
    opens five_nodes/lb-1 "${ssh[@]}" 'tcp dport 80' 'tcp dport 443' 'ip saddr 10.0.0.101 meta l4proto 112'
    opens five_nodes/lb-2 "${ssh[@]}" 'tcp dport 80' 'tcp dport 443' 'ip saddr 10.0.0.100 meta l4proto 112'
    opens five_nodes/web-1 'ip saddr 10.0.0.0/24 tcp dport 22' 'ip saddr 10.0.0.100 tcp dport 8080' \
        'ip saddr 10.0.0.101 tcp dport 8080' 'ip saddr 10.0.0.0/24 tcp dport 9180' 'ip6 saddr fd00::/8 tcp dport 9180'
    local redis=() number
    for number in 1 2 3 4 5; do redis+=("ip saddr 10.0.0.$((110 + number)) tcp dport 6379"); done
    opens five_nodes/redis "${ssh[@]}" "${redis[@]}"
}

# opens SET-UP/MACHINE RULE...: the firewall has exactly these rules, in any order.
opens() {
    local machine="$1"
    shift
    diff <(printf '%s\n' "$@" | sort) \
        <(sed -n '/dport 546/d; s/^ *\(.*\(dport\|l4proto 112\).*\) accept$/\1/p' "$scratch/$machine/out/etc/nftables.conf" | sort)
    grep -x '        type filter hook input priority filter; policy drop;' "$scratch/$machine/out/etc/nftables.conf"
}

check 'nft takes every firewall' nft_takes_firewalls
nft_takes_firewalls() {
    need nft
    in_namespaces true
    local rules
    for rules in "$scratch"/*/*/out/etc/nftables.conf; do
        # Twice, because the file has to replace the rules that are there.
        # shellcheck disable=SC2016 # for the other shell
        in_namespaces sh -c 'nft --check --file "$1" && nft --file "$1" && nft --file "$1" && nft list ruleset' sh "$rules" \
            >"$scratch/ruleset"
        (($(grep -c 'policy drop' "$scratch/ruleset") == 1))
        (($(grep -c 'dport 22 ' "$scratch/ruleset") >= 1))
    done
}

check 'a firewall that would shut the operator out is noticed' operator_is_recognised
operator_is_recognised() {
    # shellcheck source=terraform/roles/base/machine.sh disable=SC1091
    . terraform/roles/base/machine.sh
    local pair
    for pair in 10.0.0.5,10.0.0.0/24 10.0.0.5,0.0.0.0/0 10.0.0.5,10.0.0.5 192.168.7.9,192.168.0.0/16 fd00::5,::/0 \
        fd00::5,fd00::5 fd00::5,fd00::/64; do
        is_within "${pair%,*}" "${pair#*,}" || { echo "$pair: not recognised"; exit 1; }
    done
    for pair in 10.0.1.5,10.0.0.0/24 10.0.0.5,::/0 10.0.0.5,10.0.0.6 fd00::5,0.0.0.0/0 fd00::5,fd01::/64; do
        if is_within "${pair%,*}" "${pair#*,}"; then echo "$pair: within"; exit 1; fi
    done
}

check 'sshd takes keys and no passwords' sshd_takes_keys_only
sshd_takes_keys_only() {
    need sshd optional
    # The program may be there although the package is not installed.
    getent passwd sshd >/dev/null || skip 'there is no user sshd (optional)'
    local answer
    ssh-keygen -q -t ed25519 -N '' -f "$scratch/host_key"
    printf 'HostKey %s\nInclude %s\nPasswordAuthentication yes\n' "$scratch/host_key" \
        "$scratch/one_node/web-1/out/etc/ssh/sshd_config.d/10-shunt.conf" >"$scratch/sshd_config"
    answer="$("$(command -v sshd)" -T -f "$scratch/sshd_config")"
    grep -x 'passwordauthentication no' <<<"$answer"
    grep -x 'kbdinteractiveauthentication no' <<<"$answer"
}

check 'apt upgrades by itself what is for security, if wanted' apt_upgrades
apt_upgrades() {
    need apt-config optional
    local dump
    dump="$(apt-config --config-file="$scratch/one_node/web-1/out/etc/apt/apt.conf.d/60shunt" dump)"
    grep -x 'APT::Periodic::Unattended-Upgrade "1";' <<<"$dump"
    grep 'Unattended-Upgrade::Origins-Pattern:: ".*label=Debian-Security' <<<"$dump"
    if grep 'Unattended-Upgrade::Origins-Pattern:: ".*label=Debian"' <<<"$dump"; then exit 1; fi
    dump="$(apt-config --config-file="$scratch/five_nodes/postgres/out/etc/apt/apt.conf.d/60shunt" dump)"
    grep -x 'APT::Periodic::Unattended-Upgrade "0";' <<<"$dump"
}

check 'a guest of QEMU gets its agent, and no other machine does' agent_is_for_guests
agent_is_for_guests() {
    # shellcheck source=terraform/roles/base/machine.sh disable=SC1091
    . terraform/roles/base/machine.sh
    if grep -w qemu-guest-agent <<<"$(machine_packages)"; then echo 'installed without being asked for'; exit 1; fi
    GUEST_AGENT=true
    grep -w qemu-guest-agent <<<"$(machine_packages)"
}
