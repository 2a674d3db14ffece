# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# How many connections a client may have.

# shellcheck source=scripts/roles/load-balancer.sh
source scripts/roles/load-balancer.sh

check 'a client has 512 connections at most, by the firewall, unless that is turned off' connections_of_a_client_are_bounded
connections_of_a_client_are_bounded() {
    need nft
    need ip
    on_load_balancer try_connections
}

# From a network of its own, with two clients each of IPv4 and IPv6, some of which have several addresses.
try_connections() {
    local number
    ulimit -n 2000
    mkdir -p /run/netns
    ip netns add visitors
    ip link add lb0 type veth peer name eth0 netns visitors
    ip address add 10.9.0.1/24 dev lb0
    ip address add fd00:9::1/64 dev lb0 nodad
    ip link set lb0 up
    ip route add fd00:8::/32 dev lb0
    in_visitors ip link set eth0 up
    # noprefixroute: the address's own route would be preferred to those that `visit` adds.
    in_visitors ip address add fd00:9::2/64 dev eth0 nodad noprefixroute
    for number in 2 3; do in_visitors ip address add "10.9.0.$number/24" dev eth0; done
    for number in 1:1 1:2 1:3 2:1; do in_visitors ip address add "fd00:8:0:0${number%:*}::${number#*:}/64" dev eth0 nodad; done
    apply TLS=false
    nft --file "$scratch/one_node/lb-1/out/etc/nftables.conf"

    # 3 × 300 connections from one /64, and 300 from another. They are idle, so nginx itself does not count them.
    visit fd00:9::1 300 fd00:8:0:1::{1,2,3}
    ((visits == 512)) || { echo "$visits connections of one /64"; return 1; }
    visit fd00:9::1 300 fd00:8:0:2::1
    ((visits == 300)) || { echo "$visits connections of another /64"; return 1; }
    visit 10.9.0.1 600 10.9.0.2
    ((visits == 512)) || { echo "$visits connections of one address"; return 1; }
    visit 10.9.0.1 300 10.9.0.3
    ((visits == 300)) || { echo "$visits connections of another address"; return 1; }

    # Without a bound, for a load balancer behind another one, which is a single client.
    local unbound="$MACHINE/unbound"
    cp "$scratch/one_node/lb-1/settings.env" "$MACHINE/settings.env"
    echo "CLIENT_CONNECTIONS='0'" >>"$MACHINE/settings.env"
    (cd "$MACHINE" && SECRETS_FILE=/nonexistent bash "$scratch/one_node/lb-1/role/install.sh" --render "$unbound")
    nft --file "$unbound/etc/nftables.conf"
    visit 10.9.0.1 600 10.9.0.3
    ((visits == 600)) || { echo "$visits connections without a bound"; return 1; }
}

in_visitors() {
    ip netns exec visitors "$@"
}

# visit SERVER COUNT ADDRESS...: opens COUNT connections from each address and holds them. Sets `visits` to how many the
# server accepted.
visit() {
    local server="$1" count="$2" route
    shift 2
    if [[ "$server" == *:* ]]; then route=fd00:9::/64; else route=10.9.0.0/24; fi
    rm -f /run/visits /run/holding
    mkfifo /run/holding
    # shellcheck disable=SC2016 # for the other shell
    (exec ip netns exec visitors bash -euc '
        server=$1 count=$2 route=$3 taken=0
        shift 3
        for address; do
            ip route replace "$route" dev eth0 src "$address"
            for ((number = 0; number < count; number++)); do
                if { exec {connection}<>"/dev/tcp/$server/80"; } 2>/dev/null; then taken=$((taken + 1)); fi
            done
        done
        echo "$taken" >/run/visits.new
        mv /run/visits.new /run/visits
        # Waits until it is killed: nothing writes there.
        read -r _ </run/holding' bash "$server" "$count" "$route" "$@") &
    holders+=("$!")
    until [[ -s /run/visits ]]; do
        kill -0 "${holders[-1]}"
        sleep 0.1
    done
    visits="$(cat /run/visits)"
}
