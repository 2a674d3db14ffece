# shellcheck shell=bash disable=SC2154,SC2016 # variables of scripts/roles-check, which sources this file; for other shells
# Web nodes that are folders. terraform/roles/web/shunt-release and terraform/scripts/roll-out are the real ones;
# systemd, ssh and the program are fakes. scripts/homelab-test has the real ones of those.

### Fakes

# Prepares what `in_nodes` needs: the fakes, shunt-release, and the releases.
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
    release_program degraded -DDEGRADED
}

# in_nodes FUNCTION: runs the function as root in a namespace where /usr/local/sbin and the programs of $node_bin are a
# node's. The variable NODE says which node. When the function ends, all its processes end.
in_nodes() {
    script_for "$1" nodes node_bin scratch repository >"$scratch/in-nodes" <<END
cd '$repository'
ip link set lo up
mount --bind '$scratch/node-sbin' /usr/local/sbin
export PATH='$node_bin':\$PATH SHUNT_PATIENCE=8
END
    in_namespaces unshare --pid --fork --kill-child --mount-proc bash "$scratch/in-nodes"
}

# The source of a release. By the macro that is defined, it is ready at once (READY), never (none), or once the file
# exists that its settings name as an address (TOLD, DEGRADED). Without that file, a DEGRADED one serves all the same.
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
#elif defined DEGRADED
    return count > 2 && access(getenv("SHUNT__MANAGEMENT__BIND"), F_OK) != 0;
#elif defined TOLD
    return access(getenv("SHUNT__MANAGEMENT__BIND"), F_OK) != 0;
#endif
    return 1;
}
END
}

# release_program NAME OPTION...: compiles a release.
release_program() {
    cc -O1 "${@:2}" -o "$nodes/$1" "$scratch/program.c"
    # So that no two releases are the same file.
    echo "$1" >>"$nodes/$1"
}

# Closes the files that came from the caller: what systemd starts has none of them.
only_standard_streams() {
    local file
    for file in /proc/"$BASHPID"/fd/*; do
        file="${file##*/}"
        ((file <= 2)) || eval "exec $file>&-"
    done
}

# The only unit is shunt.service. The id of its last process is in $NODE/pid.
fake_systemctl() {
    local pid alive=false tries
    pid="$(cat "$NODE/pid" 2>/dev/null || echo 0)"
    # A process that has ended but was not yet waited for has no program.
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
            # Waits until the process runs the program, and no longer the shell that started it.
            for ((tries = 0; tries < 500; tries++)); do
                [[ "$(readlink "/proc/$!/exe")" != */shunt ]] || break
                sleep 0.01
            done
            ;;
    esac
}

# Starts a command that goes on when its caller ends.
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

# The address is a folder of $NODES. As with sshd, the command runs in a session of its own; if the client ends, the
# command's standard input ends and its output goes nowhere.
fake_ssh() {
    local address="${*: -2:1}"
    # shellcheck disable=SC2094
    NODE="$NODES/$address" SHUNT_ROOT="$NODES/$address/root" SHUNT_SETTINGS="$NODES/$address/etc" \
        SHUNT_UNIT="$NODES/$address/shunt.service" setsid --wait bash -c "${*: -1}" < <(cat) > >(cat) 2> >(cat >&2)
}

### Helpers, in nodes

# use_node NAME: sets the node up, unless it is, and makes it the one that `release` talks to.
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

is() { [[ "$("${@:2}" 2>/dev/null || true)" == "$1" ]]; }
goes_for() { is "$1" current; }
serves() { is "$SHUNT_ROOT/releases/$1/shunt" readlink "/proc/$(cat "$NODE/pid")/exe"; }
under_way() { [[ -e "$SHUNT_ROOT/.switching" ]]; }
at_rest() { ! under_way && flock --nonblock "$SHUNT_ROOT/.lock" true; }

# settled ID: this release is the current one and the last good one, and no switch is under way.
settled() {
    goes_for "$1" && is "releases/$1" readlink "$SHUNT_ROOT/good" && at_rest
}

refuses() {
    local wanted="$1" answer
    shift
    if answer="$("$@" 2>&1)"; then echo "not refused: $*"; exit 1; fi
    grep -F -- "$wanted" <<<"$answer" || { echo "$* was refused otherwise: $answer"; exit 1; }
}

# session COMMAND...: runs the command as if from a terminal of its own. session_ends kills the whole session, so its
# output goes nowhere.
session() {
    setsid bash -c '"$@" 2>&1 | cat >"$0"' "$NODE/said" "$@" &
    session=$!
    within 30 kill -0 -- "-$session" 2>/dev/null
}
# The session may have ended already.
session_ends() {
    kill -KILL -- "-$session" 2>/dev/null || true
    wait "$session" 2>/dev/null || true
}
