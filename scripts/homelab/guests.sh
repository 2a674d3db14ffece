# shellcheck shell=bash
# Guests: Debian 12 with systemd and sshd, each an overlay of the base image, on a bridge of this network namespace. For
# scripts/homelab/run, which runs as the first process of namespaces of its own.
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
    # Where systemd-nspawn keeps track of guests: nobody else's.
    mkdir -p /run/systemd/nspawn
    mount -t tmpfs -o mode=0755 shunt-homelab /run/systemd/nspawn
    ip link set lo up
    ip link add shunt0 type bridge
    ip address add "$operator/24" dev shunt0
    ip link set shunt0 up
    ssh-keygen -q -t ed25519 -N '' -C homelab-test -f "$SCRATCH/key"
    # Which control groups hosts of this kind have: one unified tree, or systemd's own beside the others.
    if [[ "$(stat -fc %T /sys/fs/cgroup)" == cgroup2fs ]]; then
        unified=1
    else
        unified=0
    fi
}

# The trees of control groups that a guest needs a group in, below the one that this process is in.
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

# What runs once its package is installed, as a role finds it on a machine that is not new.
declare -A service_of=([lb-1]=nginx [redis]=redis-server [postgres]=postgresql)

# create_guest NAME: its files, with keys and a name of its own.
create_guest() {
    local name="$1" guest="$SCRATCH/guests/$1" root="$SCRATCH/guests/$1/root"
    mkdir -p "$guest"/{upper,work,root}
    mount -t overlay overlay -o "lowerdir=$BASE,upperdir=$guest/upper,workdir=$guest/work" "$root"
    echo "$name" >"$root/etc/hostname"
    printf '127.0.0.1 localhost\n127.0.1.1 %s\n::1 localhost\n' "$name" >"$root/etc/hosts"
    # Before the one that systemd brings for containers, which asks for an address.
    printf '[Match]\nName=host0\n\n[Network]\nAddress=%s/24\nGateway=%s\n' "${address_of[$name]}" "$operator" \
        >"$root/etc/systemd/network/10-host0.network"
    ssh-keygen -A -f "$root" >/dev/null
    [[ -z "${service_of[$name]:-}" ]] || systemctl --quiet --root="$root" enable "${service_of[$name]}"
    # With control groups of version 1, systemd in a container does not notice that the last process of a group has ended:
    # after a logout it would wait a minute for the end of the user's manager, and the next login for that.
    mkdir -p "$root/var/lib/systemd/linger"
    touch "$root/var/lib/systemd/linger/debian"
    install -d -m 0700 -o 1000 -g 1000 "$root/home/debian/.ssh"
    install -m 0600 -o 1000 -g 1000 "$SCRATCH/key.pub" "$root/home/debian/.ssh/authorized_keys"
}

# boot_guest NAME: also again, after kill_guest.
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

# kill_guest NAME: as if its power were cut. The link goes first, or else its kernel would still say goodbye to everybody
# it is connected with.
kill_guest() {
    local pid init
    ip link set "vb-$1" down
    pid="$(<"$SCRATCH/guests/$1/pid")"
    # Its first process; all others go with it.
    for init in $(pgrep -P "$pid"); do
        kill -KILL "$init" 2>/dev/null || true
    done
    kill -KILL "$pid" 2>/dev/null || true
    # Else it would stay for as long as the kernel tries to close the dead one's connections.
    ip link delete "vb-$1"
    within 10 "the end of $1" guest_is_gone "$1"
}

guest_is_gone() {
    ! kill -0 "$(<"$SCRATCH/guests/$1/pid")" 2>/dev/null && ! ip link show "vb-$1" >/dev/null 2>&1
}

# delete_guest NAME: kill_guest, and its files.
delete_guest() {
    kill_guest "$1"
    umount "$SCRATCH/guests/$1/root"
    rm -rf --one-file-system "$SCRATCH/guests/$1"
}

# on NAME WORD...: a command as root there, by SSH, with the caller's standard input.
on() {
    local name="$1"
    shift
    "${guest_ssh[@]}" "${address_of[$name]}" "sudo -n$(printf ' %q' "$@")"
}

# keep_journals FOLDER: of all guests, without SSH, which may be what is wrong.
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
    # `degraded` is up as well, and another step's finding.
    on "$1" systemctl is-system-running 2>/dev/null </dev/null | grep -x 'running\|degraded' >/dev/null
}

# within SECONDS WHAT COMMAND...
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
