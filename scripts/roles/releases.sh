# shellcheck shell=bash disable=SC2154,SC2016 # variables of scripts/roles-check, which sources this file; for other shells
# Releases on web nodes: roles/web/shunt-release and scripts/roll-out as they are, on nodes that are folders. What stands in for
# systemd, ssh and the program is below; scripts/homelab-test has the real ones.

### What stands in

# In a namespace in which /usr/local/sbin and the programs of $node_bin are a node's. Which node is in NODE.
nodes_start() {
    need cc
    need ip
    in_namespaces true
    nodes="$scratch/nodes" node_bin="$scratch/node-bin"
    rm -rf "$nodes" "$node_bin"
    mkdir -p "$nodes" "$node_bin" "$scratch/node-sbin"
    cp terraform/roles/web/shunt-release "$scratch/node-sbin/"
    cp terraform/roles/base/await-address "$scratch/node-sbin/shunt-await-address"
    chmod +x "$scratch"/node-sbin/*
    programs
    local name
    for name in logger journalctl; do printf '#!/bin/sh\n' >"$node_bin/$name"; done
    printf '%s\n' '#!/bin/bash' 'while [[ "$1" != -- ]]; do shift; done' 'exec "${@:2}"' >"$node_bin/setpriv"
    declare -f only_standard_streams fake_systemctl fake_systemd_run fake_ssh >"$node_bin/fakes"
    for name in systemctl systemd-run ssh; do
        printf '%s\n' '#!/bin/bash' 'set -eu' ". '$node_bin/fakes'" "fake_${name//-/_} \"\$@\"" >"$node_bin/$name"
    done
    chmod +x "$node_bin"/*
    release_program ready -DREADY
    release_program ready-too -DREADY -DSECOND
    release_program never
    release_program told -DTOLD
}

# in_nodes FUNCTION: as root there, and with everything of it gone afterwards.
in_nodes() {
    {
        declare -f
        declare -p nodes node_bin scratch repository
        echo 'set -euo pipefail'
        echo "cd '$repository'"
        echo 'ip link set lo up'
        echo "mount --bind '$scratch/node-sbin' /usr/local/sbin"
        echo "PATH='$node_bin':\$PATH"
        echo 'export PATH SHUNT_PATIENCE=5'
        echo "$1"
    } >"$scratch/in-nodes"
    in_namespaces unshare --pid --fork --kill-child --mount-proc bash "$scratch/in-nodes"
}

# A release: ready at once, never, or when the file exists that its settings take for an address.
programs() {
    cat >"$scratch/program.c" <<'END'
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
    const char *command = count > 1 ? words[1] : "";
    if (!strcmp(command, "--version")) return puts("shunt 0.0.0") < 0;
    if (!strcmp(command, "migrate")) return 0;
    if (!strcmp(command, "serve")) for (;;) pause();
#if defined READY
    return 0;
#elif defined TOLD
    return access(getenv("SHUNT__MANAGEMENT__BIND"), F_OK) != 0;
#endif
    return 1;
}
END
}

# release_program NAME OPTION...
release_program() {
    cc -O1 "${@:2}" -o "$nodes/$1" "$scratch/program.c"
    # Each is another file.
    echo "$1" >>"$nodes/$1"
}

# What systemd starts has none of its caller's files.
only_standard_streams() {
    local file
    for file in /proc/"$BASHPID"/fd/*; do
        file="${file##*/}"
        ((file <= 2)) || eval "exec $file>&-"
    done
}

# The only unit is shunt.service: its process's id, or that of its last one, is in $NODE/pid.
fake_systemctl() {
    local pid alive=false tries
    pid="$(cat "$NODE/pid" 2>/dev/null || echo 0)"
    # Not one that nobody has waited for yet.
    if [[ "$pid" != 0 ]] && readlink "/proc/$pid/exe" >/dev/null 2>&1; then alive=true; fi
    case "$*" in
        'show --property MainPID '*) if $alive; then echo "$pid"; else echo 0; fi ;;
        'show --property ActiveState '*) if $alive; then echo active; else echo failed; fi ;;
        'show --property NRestarts '*) echo 0 ;;
        'is-active '*) $alive ;;
        'restart shunt.service')
            if $alive; then kill -KILL "$pid"; fi
            for ((tries = 0; tries < 500; tries++)); do
                readlink "/proc/$pid/exe" >/dev/null 2>&1 || break
                sleep 0.01
            done
            (only_standard_streams && exec setsid "$NODE/root/current/shunt" serve) </dev/null >/dev/null 2>&1 &
            echo "$!" >"$NODE/pid"
            # Its own program by now, not the shell that started it.
            for ((tries = 0; tries < 500; tries++)); do
                [[ "$(readlink "/proc/$!/exe")" != */shunt ]] || break
                sleep 0.01
            done
            ;;
    esac
}

# A command that goes on when the caller does not.
fake_systemd_run() {
    local output=/dev/null result=0
    while [[ "$1" == --* ]]; do
        case "$1" in
            --unit | --description | --setenv) shift ;;
            --property)
                [[ "$2" != StandardOutput=append:* ]] || output="${2#*append:}"
                shift
                ;;
        esac
        shift
    done
    (only_standard_streams && exec setsid "$@") </dev/null >>"$output" 2>&1 &
    [[ "$*" != *--detached* ]] || echo "$!" >"$NODE/detached"
    wait "$!" || result=$?
    exit "$result"
}

# The address is a folder of $NODES. Like sshd: what runs there is another session's, and if the client goes, its standard
# input ends and nobody reads what it says.
fake_ssh() {
    local address="${*: -2:1}"
    # shellcheck disable=SC2094
    NODE="$NODES/$address" SHUNT_ROOT="$NODES/$address/root" SHUNT_SETTINGS="$NODES/$address/etc" \
        SHUNT_UNIT="$NODES/$address/shunt.service" setsid --wait bash -c "${*: -1}" < <(cat) > >(cat) 2> >(cat >&2)
}

### Helpers, in nodes

# use_node NAME: a node that is set up, and the one that `release` talks to from now on.
use_node() {
    export NODES="$nodes" NODE="$nodes/$1"
    export SHUNT_ROOT="$NODE/root" SHUNT_SETTINGS="$NODE/etc" SHUNT_UNIT="$NODE/shunt.service"
    [[ ! -d "$NODE" ]] || return 0
    mkdir -p "$NODE/root" "$NODE/etc"
    echo '[Service]' >"$NODE/etc/shunt.service"
    printf 'SHUNT__HTTP__BIND="127.0.0.1:8080"\nSHUNT__MANAGEMENT__BIND="%s"\n' "$nodes/now" >"$NODE/etc/web.env"
    printf "POSTGRES_PASSWORD='a'\nREDIS_PASSWORD='b'\n" >"$NODE/etc/secrets.env"
}

release() { /usr/local/sbin/shunt-release "$@"; }
stage_program() { release stage <"$nodes/$1"; }
current() { release current; }

# within SECONDS COMMAND...
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS >= until)); then echo "waited in vain for: $*"; exit 1; fi
        sleep 0.05
    done
}

is() { [[ "$("${@:2}" 2>/dev/null || true)" == "$1" ]]; }
goes_for() { is "$1" current; }
under_way() { [[ -e "$SHUNT_ROOT/.switching" ]]; }
at_rest() { ! under_way && flock --nonblock "$SHUNT_ROOT/.lock" true; }

# settled ID: it runs, is the last good one, and nothing is under way.
settled() {
    goes_for "$1" && is "releases/$1" readlink "$SHUNT_ROOT/good" && at_rest
}

refuses() {
    local wanted="$1" answer
    shift
    if answer="$("$@" 2>&1)"; then echo "not refused: $*"; exit 1; fi
    grep -F -- "$wanted" <<<"$answer" || { echo "$* was refused otherwise: $answer"; exit 1; }
}

# session COMMAND...: as from a terminal of its own; session_ends kills all of it, and what it says is read no more.
session() {
    setsid bash -c '"$@" 2>&1 | cat >"$0"' "$NODE/said" "$@" &
    session=$!
    within 30 kill -0 -- "-$session" 2>/dev/null
}
# Perhaps it has ended by itself.
session_ends() {
    kill -KILL -- "-$session" 2>/dev/null || true
    wait "$session" 2>/dev/null || true
}

### Checks

release_goes_back_whatever_becomes_of_its_session() {
    nodes_start
    in_nodes nodes_without_a_session
}

nodes_without_a_session() {
    local a never told condition
    use_node web-1
    a="$(stage_program ready)" never="$(stage_program never)" told="$(stage_program told)"
    is "$a is ready" true || release switch "$a"
    settled "$a"
    refuses "switched back to $a" release switch "$never"
    settled "$a"

    # At every stage of a switch that fails.
    for condition in true under_way "goes_for $never"; do
        session /usr/local/sbin/shunt-release switch "$never"
        # shellcheck disable=SC2086
        within 30 $condition
        session_ends
        # It is not even begun, perhaps; or else ends as it should.
        within 60 settled "$a"
    done
    # And of one that succeeds.
    session /usr/local/sbin/shunt-release switch "$told"
    within 30 goes_for "$told"
    session_ends
    touch "$nodes/now"
    within 60 settled "$told"
}

# The switch itself is killed, or the machine loses its power.
a_switch_that_was_cut_off_is_settled() {
    nodes_start
    in_nodes nodes_cut_off
}

nodes_cut_off() {
    local a never told
    use_node web-1
    a="$(stage_program ready)" never="$(stage_program never)" told="$(stage_program told)"
    release switch "$a"

    # cut_off ID: when it is current, and not ready.
    cut_off() {
        session /usr/local/sbin/shunt-release switch "$1"
        within 30 goes_for "$1"
        kill -KILL "$(cat "$NODE/detached")"
        wait "$session" || true
        under_way
        within 30 flock --nonblock "$SHUNT_ROOT/.lock" true
    }
    # By itself: systemd starts `settle`.
    cut_off "$never"
    refuses "a switch to $never was cut off" eval 'release settle && false'
    settled "$a"
    # Or the next roll-out comes first, with the same release: there is one to go back to.
    cut_off "$never"
    refuses "switched back to $a" release switch "$never"
    settled "$a"
    # Or with another.
    cut_off "$never"
    touch "$nodes/now"
    release switch "$told"
    settled "$told"
    # One that becomes ready is not taken back.
    release switch "$a"
    rm "$nodes/now"
    cut_off "$told"
    touch "$nodes/now"
    release settle
    settled "$told"
    # Before it was begun with, so that the one before still serves.
    release switch "$a"
    echo "$told" >"$SHUNT_ROOT/.switching"
    release settle
    settled "$a"
    # Between the unit and the program.
    echo "$told" >"$SHUNT_ROOT/.switching"
    echo '# another' >>"$SHUNT_UNIT"
    release settle
    settled "$a"
    cmp "$SHUNT_UNIT" "$SHUNT_ROOT/current/shunt.service"
    # Told to end, it does not leave things as they are either.
    rm "$nodes/now"
    session /usr/local/sbin/shunt-release switch "$told"
    within 30 goes_for "$told"
    kill -TERM "$(cat "$NODE/detached")"
    wait "$session" || true
    release settle || true
    settled "$a"
    # The last good one stays, however many releases come.
    local number
    for number in 1 2 3 4 5; do
        echo "SHUNT__LOG__LEVEL=\"$number\"" >>"$NODE/etc/web.env"
        stage_program never >/dev/null
    done
    [[ -d "$SHUNT_ROOT/releases/$a" ]]
}

a_node_has_one_roll_out() {
    nodes_start
    in_nodes nodes_held
}

nodes_held() {
    local a told token other
    use_node web-1
    a="$(stage_program ready)" told="$(stage_program told)"
    release switch "$a"

    # holds OWNER: until the file is gone.
    holds() {
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

    # Of a roll-out that is gone, what it began goes on. The next one waits for it.
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

    # Silence is an end.
    sed -i 's/^silence=60$/silence=1/' /usr/local/sbin/shunt-release
    sleep 30 | release hold ann >"$NODE/token-ann" &
    within 30 test -s "$NODE/token-ann"
    within 30 flock --nonblock "$SHUNT_ROOT/.held" true
    sed -i 's/^silence=1$/silence=60/' /usr/local/sbin/shunt-release

    # What arrives in part is not taken for a release.
    refuses 'did not arrive whole' eval 'head -c -1 "$nodes/told" | release stage --sent-sha256 "$(sha256sum <"$nodes/told" | cut -d " " -f 1)"'
    [[ -z "$(find "$SHUNT_ROOT/releases" -name '.new.*')" ]]
}

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
    # both RELEASE
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
    # By a signal, and by the end of everything.
    local signal never
    never="$(stage_program never)"
    for signal in KILL INT TERM HUP; do
        setsid bash -c 'terraform/scripts/roll-out "$@"' bash "$nodes/never" web-1=web-1=1 web-2=web-2=1 >"$NODE/said" 2>&1 &
        local script=$!
        within 30 goes_for "$never"
        # The whole group, as Ctrl-C does.
        kill -"$signal" -- "-$script"
        wait "$script" || true
        both "$a"
    done
    refuses "switched back to $a" roll_out never
    both "$a"

    # Two at once.
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
    # They share a node only.
    use_node web-2
    (while [[ ! -e "$nodes/stop" ]]; do echo; sleep 0.1; done) | release hold ann >"$NODE/token-ann" &
    within 30 test -s "$NODE/token-ann"
    refuses 'web-2: another roll-out is under way. Nothing was changed' roll_out ready-too
    touch "$nodes/stop"
    both "$told"
    roll_out ready-too
    [[ "$(current)" != "$told" ]]
}

release_wants_its_address() {
    nodes_start
    in_nodes nodes_without_their_address
}

nodes_without_their_address() {
    local a other
    use_node web-1
    a="$(stage_program ready)"
    release switch "$a"
    sed -i 's/127.0.0.1:8080/10.9.8.7:8080/' "$NODE/etc/web.env"
    other="$(stage_program ready)"
    refuses 'this machine does not have the address 10.9.8.7' release switch "$other"
    settled "$a"
    ip address add 10.9.8.7/32 dev lo
    release switch "$other"
    settled "$other"
    # It goes: the release runs, and is not ready.
    ip address delete 10.9.8.7/32 dev lo
    refuses 'this machine does not have the address 10.9.8.7' release switch "$other"

    local address
    for address in 127.0.0.1 127.0.0.1:8080 0.0.0.0:8080 '[::]:8080' '[::1]:8080' ::1 localhost:8080 cafe.de:80; do
        SHUNT_ADDRESS_WAIT=0 shunt-await-address "$address"
    done
    for address in 10.9.8.7 10.9.8.7:8080 '[fd00::7]:8080' fd00::7; do
        SHUNT_ADDRESS_WAIT=0 refuses 'does not have the address' shunt-await-address "$address"
    done
    # It may come a moment after the service is started, as at boot.
    (sleep 0.5; ip address add 10.9.8.7/32 dev lo) &
    shunt-await-address 10.9.8.7:8080
}
