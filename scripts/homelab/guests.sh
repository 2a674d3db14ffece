# shellcheck shell=bash
# Guests: Debian 12 with systemd and sshd, each an overlay of the base image, on a bridge of this network namespace.
# scripts/homelab/run sources this, and runs as the first process of its namespaces.
#
#   SCRATCH  a folder for this run; guests live in $SCRATCH/guests/NAME
#   BASE     the base image

: "${SCRATCH:?}" "${BASE:?}"

# The operator's machine: this namespace's own address on the bridge.
operator=10.0.0.254

declare -A address_of=(
    [lb-1]=10.0.0.100 [web-1]=10.0.0.111 [web-2]=10.0.0.112 [web-3]=10.0.0.113
    [redis]=10.0.0.130 [load-tester]=10.0.0.160 [postgres]=10.0.0.200
)

guest_ssh=(ssh -i "$SCRATCH/key" -l debian -o BatchMode=yes -o ConnectTimeout=2 -o LogLevel=ERROR
    -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ServerAliveInterval=5)

start_network() {
    # systemd-nspawn keeps track of guests here. The mount hides the guests of the machine.
    mkdir -p /run/systemd/nspawn
    mount -t tmpfs -o mode=0755 shunt-homelab /run/systemd/nspawn
    ip link set lo up
    ip link add shunt0 type bridge
    ip address add "$operator/24" dev shunt0
    ip link set shunt0 up
    ssh-keygen -q -t ed25519 -N '' -C homelab-test -f "$SCRATCH/key"
    # The control groups of this host: one unified tree, or a tree of systemd's own beside others.
    if [[ "$(stat -fc %T /sys/fs/cgroup)" == cgroup2fs ]]; then
        unified=1
    else
        unified=0
    fi
}

# Prints the folders of control groups below which a guest needs a group: this process's own group, in each tree.
cgroup_parents() {
    local tree
    if ((unified)); then
        echo "/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup)"
    else
        for tree in systemd unified; do
            [[ ! -d "/sys/fs/cgroup/$tree" ]] || echo "/sys/fs/cgroup/$tree"
        done
    fi
}

# Services that Debian starts when their packages are installed, as a role finds them on a machine that is not new.
declare -A service_of=([lb-1]=nginx [redis]=redis-server [postgres]=postgresql)

# create_guest NAME: makes the guest's files, with a name and keys of its own.
create_guest() {
    local name="$1" guest="$SCRATCH/guests/$1" root="$SCRATCH/guests/$1/root"
    mkdir -p "$guest"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$guest/upper,workdir=$guest/work" "$root"
    echo "$name" >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost\n' "$name" >"$root/etc/hosts"
    # Its name sorts before systemd's own file for containers, which would ask for an address by DHCP.
    printf '[Match]\nName=host0\n\n[Network]\nAddress=%s/24\nGateway=%s\n' "${address_of[$name]}" "$operator" \
        >"$root/etc/systemd/network/10-host0.network"
    ssh-keygen -A -f "$root" >/dev/null
    [[ -z "${service_of[$name]:-}" ]] || systemctl --quiet --root="$root" enable "${service_of[$name]}"
    # With control groups of version 1, systemd in a container does not notice when the last process of a group ends.
    # After a logout it would wait a minute for the user's manager to end, and the next login would wait for that.
    mkdir -p "$root/var/lib/systemd/linger"
    touch "$root/var/lib/systemd/linger/debian"
    install -d -m 0700 -o 1000 -g 1000 "$root/home/debian/.ssh"
    install -m 0600 -o 1000 -g 1000 "$SCRATCH/key.pub" "$root/home/debian/.ssh/authorized_keys"
}

# boot_guest NAME: boots the guest, for the first time or after kill_guest.
boot_guest() {
    local name="$1" guest="$SCRATCH/guests/$1" parent group groups=()
    while read -r parent; do
        group="$parent/shunt-homelab-${SCRATCH##*.}/$name"
        mkdir -p "$group"
        groups+=("$group")
    done < <(cgroup_parents)
    (
        for group in "${groups[@]}"; do
            echo "$BASHPID" >"$group/cgroup.procs"
        done
        exec env SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="$unified" systemd-nspawn --quiet --boot --register=no --keep-unit \
            --network-bridge=shunt0 --machine="$name" --directory="$guest/root" --console=read-only
    ) >>"$SCRATCH/log/console-$name.log" 2>&1 </dev/null &
    echo "$!" >"$guest/pid"
}

# kill_guest NAME: ends the guest as a power cut would. The link goes first, or the kernel would still close its
# connections in good order.
kill_guest() {
    local pid init
    ip link set "vb-$1" down
    pid="$(<"$SCRATCH/guests/$1/pid")"
    # All other processes of the guest end with its first.
    for init in $(pgrep -P "$pid"); do
        kill -KILL "$init" 2>/dev/null || true
    done
    kill -KILL "$pid" 2>/dev/null || true
    # Otherwise the link would stay for as long as the kernel tries to close the guest's connections.
    ip link delete "vb-$1"
    within 10 "the end of $1" guest_is_gone "$1"
}

guest_is_gone() {
    ! kill -0 "$(<"$SCRATCH/guests/$1/pid")" 2>/dev/null && ! ip link show "vb-$1" >/dev/null 2>&1
}

# delete_guest NAME: kills the guest and deletes its files.
delete_guest() {
    kill_guest "$1"
    umount "$SCRATCH/guests/$1/root"
    rm -rf --one-file-system "$SCRATCH/guests/$1"
}

# on NAME WORD...: runs a command as root in the guest, by SSH, with the caller's standard input.
on() {
    local name="$1"
    shift
    "${guest_ssh[@]}" "${address_of[$name]}" "sudo -n$(printf ' %q' "$@")"
}

# keep_journals FOLDER: copies the journals of all guests. Not by SSH, because that may be what fails.
keep_journals() {
    local guest init
    mkdir -p "$1"
    for guest in "$SCRATCH"/guests/*; do
        init="$(pgrep -P "$(cat "$guest/pid")" || true)"
        [[ -z "$init" ]] || nsenter --target "$init" --all journalctl --quiet --no-pager \
            >"$1/journal-${guest##*/}.log" 2>&1 </dev/null || true
    done
}

guest_is_up() {
    # A guest that is `degraded` is up; step_boot fails for it.
    on "$1" systemctl is-system-running 2>/dev/null </dev/null | grep -x 'running\|degraded' >/dev/null
}

# within SECONDS WHAT COMMAND...: waits until the command succeeds.
within() {
    local until=$((SECONDS + $1)) what="$2"
    shift 2
    until "$@"; do
        if ((SECONDS >= until)); then
            fail "waited in vain for $what"
        fi
        sleep 0.1
    done
}
