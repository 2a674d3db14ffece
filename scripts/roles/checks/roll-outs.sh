# shellcheck shell=bash disable=SC2154,SC2016 # variables of the files that scripts/roles-check sources
# Roll-outs to web nodes: interrupted, and two at once.

# shellcheck source=scripts/roles/nodes.sh
source scripts/roles/nodes.sh

check 'a node has one roll-out at a time, and waits for what is under way' a_node_has_one_roll_out
a_node_has_one_roll_out() {
    nodes_start
    in_nodes nodes_held
}

nodes_held() {
    local a told token other
    use_node web-1
    a="$(stage_program ready)" told="$(stage_program told)"
    release switch "$a"

    # holds OWNER: holds the node in this owner's name, until `lets_go`.
    holds() {
        rm -f "$NODE/token-$1"
        touch "$NODE/holds-$1"
        (while [[ -e "$NODE/holds-$1" ]]; do echo; sleep 0.1; done) | /usr/local/sbin/shunt-release hold "$1" >"$NODE/token-$1" &
        within 30 test -s "$NODE/token-$1"
        token="$(cat "$NODE/token-$1")"
    }
    lets_go() {
        rm "$NODE/holds-$1"
        within 30 flock --nonblock "$SHUNT_ROOT/.held" true
    }
    holds ann
    refuses 'another roll-out is under way on this node, since 20' release hold bob </dev/null
    refuses ', by ann' release hold bob </dev/null
    refuses ', by ann. Nothing was changed' release switch "$told"
    refuses 'another roll-out is under way' release migrate "$told"
    refuses 'another roll-out is under way' release switch "$told" --token 0123
    goes_for "$a"
    at_rest
    touch "$nodes/now"
    release switch "$told" --token "$token"
    settled "$told"
    lets_go ann
    refuses 'no longer holds this node' release switch "$a" --token "$token"
    settled "$told"
    release switch "$a"
    settled "$a"

    # A roll-out ends during its switch: the switch goes on, and the next roll-out waits for it.
    rm "$nodes/now"
    holds ann
    session /usr/local/sbin/shunt-release switch "$told" --token "$token"
    within 30 goes_for "$told"
    session_ends
    lets_go ann
    other="$token"
    holds bob
    (release stage <"$nodes/ready" >"$NODE/staged") &
    refuses 'another roll-out' release switch "$a" --token "$other"
    [[ ! -s "$NODE/staged" ]] || ! under_way
    wait "$!"
    settled "$a"
    lets_go bob

    # A roll-out that stays silent loses the node.
    sed -i 's/^silence=60$/silence=1/' /usr/local/sbin/shunt-release
    rm -f "$NODE/token-ann"
    sleep 30 | release hold ann >"$NODE/token-ann" &
    within 30 test -s "$NODE/token-ann"
    within 30 flock --nonblock "$SHUNT_ROOT/.held" true
    sed -i 's/^silence=1$/silence=60/' /usr/local/sbin/shunt-release

    # A release that arrives in part is refused.
    refuses 'did not arrive whole' eval 'head -c -1 "$nodes/told" | release stage --sent-sha256 "$(sha256sum <"$nodes/told" | cut -d " " -f 1)"'
    [[ -z "$(find "$SHUNT_ROOT/releases" -name '.new.*')" ]]
}

check 'a roll-out can be interrupted at any time, and two at once are one' a_roll_out_can_be_interrupted
a_roll_out_can_be_interrupted() {
    nodes_start
    in_nodes nodes_rolled_out
}

nodes_rolled_out() {
    local a
    use_node web-2
    use_node web-1
    export SSH_COMMAND="$node_bin/ssh" SSH_USER=root SSH_PORT=22 SSH_KNOWN_HOSTS=/dev/null SSH_WAIT=30
    roll_out() { terraform/scripts/roll-out "$nodes/$1" web-1=web-1=1 web-2=web-2=1; }
    # both RELEASE: both nodes settle on this release, and are free.
    both() {
        local name
        for name in web-2 web-1; do
            use_node "$name"
            within 60 settled "$1"
            within 30 flock --nonblock "$SHUNT_ROOT/.held" true
        done
    }
    roll_out ready
    a="$(current)"
    both "$a"
    roll_out ready
    # Interrupted by signals, one of which cannot be handled.
    local signal never
    never="$(stage_program never)"
    for signal in KILL INT TERM HUP; do
        setsid bash -c 'terraform/scripts/roll-out "$@"' bash "$nodes/never" web-1=web-1=1 web-2=web-2=1 >"$NODE/said" 2>&1 &
        local script=$!
        within 30 goes_for "$never"
        # To the whole process group, as Ctrl-C does.
        kill -"$signal" -- "-$script"
        wait "$script" || true
        both "$a"
    done
    refuses "switched back to $a" roll_out never
    both "$a"

    # Two roll-outs at once.
    local first told
    told="$(stage_program told)"
    roll_out told >"$nodes/said" 2>&1 &
    first=$!
    within 30 goes_for "$told"
    refuses 'web-1: another roll-out is under way. Nothing was changed' roll_out ready-too
    use_node web-2
    goes_for "$a"
    touch "$nodes/now"
    wait "$first" || { cat "$nodes/said"; exit 1; }
    both "$told"
    # Two roll-outs that have only one node in common.
    use_node web-2
    (while [[ ! -e "$nodes/stop" ]]; do echo; sleep 0.1; done) | release hold ann >"$NODE/token-ann" &
    within 30 test -s "$NODE/token-ann"
    refuses 'web-2: another roll-out is under way. Nothing was changed' roll_out ready-too
    touch "$nodes/stop"
    both "$told"
    roll_out ready-too
    [[ "$(current)" != "$told" ]]
}
