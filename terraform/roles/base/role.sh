# shellcheck shell=bash
# The common part of every role's install.sh, which sources this file, defines four functions and calls `run_role "$@"`:
#
#   packages   prints the names of Debian packages that the role needs
#   render     writes every file of the role with `file`, `copy` and `template`, and opens ports with `accept`
#   check      looks at the rendered files in "$tree", before any of them is installed; may do nothing
#   activate   brings the services to what the installed files say
#
# A role renders its files into a tree of their own, checks them there, and installs those that differ from the
# machine's. So `--render DIR` shows exactly what would be installed.

roles_base="$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=machine.sh
. "$roles_base/machine.sh"

# What the last run installed. Only root may read it.
state=/var/lib/shunt-role
# Files that were installed or removed in this run.
changed=()
# Patterns of files that stay on the machine even if a run no longer renders them. Roles add to it.
left_alone=()
# Where files are rendered to, the list of them, this run's own folder, and whether this run only renders.
tree='' manifest='' scratch='' rendering=false

run_role() {
    local render_to=
    case "${1:-}" in
        --help)
            sed -n '2,/^set -/{/^# \{0,1\}/s///p}' "$0"
            echo
            echo '  --render DIR   write every file that would be installed below DIR, and do nothing else'
            exit 0
            ;;
        --render)
            (($# == 2)) || die "--render needs a directory"
            render_to="$2"
            ;;
        '') ;;
        *) die "unknown argument $1; see --help" ;;
    esac
    umask 077
    read_settings

    if [[ -n "$render_to" ]]; then
        mkdir -p "$render_to"
        tree="$(cd "$render_to" && pwd)"
        manifest=/dev/null
        rendering=true
        render
        render_machine
        exit 0
    fi

    ((EUID == 0)) || die "needs root; --render does not"
    [[ -d /run/systemd/system ]] || die "this machine does not run systemd"
    mkdir -p -m 700 "$state"
    exec 9>"$state/lock"
    flock --wait 600 9 || die "another run has been at work on this machine for ten minutes"
    claim_machine
    # shellcheck disable=SC2046 # names of packages
    ensure_packages $(machine_packages; packages)

    scratch="$(mktemp -d)"
    trap 'rm -rf "$scratch"' EXIT
    tree="$scratch/tree" manifest="$scratch/manifest" rendering=false
    mkdir "$tree"
    : >"$manifest"
    render
    render_machine
    check_machine
    check
    install_rendered
    activate_machine
    activate
}

die() {
    echo "${ROLE:-role}: $*" >&2
    exit 1
}

### Settings

read_settings() {
    [[ -f settings.env ]] || die "there is no settings.env in $PWD"
    # shellcheck disable=SC1091
    . ./settings.env
    # Machines that need no secret do not have this file.
    local secrets="${SECRETS_FILE:-/etc/shunt/secrets.env}"
    if [[ -e "$secrets" ]]; then
        # shellcheck disable=SC1090
        . "$secrets"
    fi
    need ROLE NAME ADDRESS ADMIN_NETWORKS
    addresses ADDRESS
    networks ADMIN_NETWORKS
}

# need NAME...: these settings must have a value.
need() {
    local name
    for name in "$@"; do
        [[ -n "${!name:-}" ]] || die "settings.env: $name is missing or empty"
    done
}

# need_secret NAME: the same for a secret, which must need no quoting anywhere.
need_secret() {
    [[ -n "${!1:-}" ]] || die "/etc/shunt/secrets.env: $1 is missing or empty"
    [[ "${!1}" =~ ^[A-Za-z0-9_-]+$ ]] || die "/etc/shunt/secrets.env: $1 may have letters, digits, _ and - only"
}

# addresses NAME...: these settings are lists of addresses.
addresses() {
    local name address
    for name in "$@"; do
        for address in ${!name}; do
            [[ "$address" =~ ^[0-9.]+$ || "$address" =~ ^[0-9a-fA-F:]+$ ]] \
                || die "settings.env: $name: $address is not an address"
        done
    done
}

# networks NAME...: these settings are lists of networks or addresses.
networks() {
    local name network
    for name in "$@"; do
        for network in ${!name}; do
            [[ "$network" =~ ^([0-9.]+|[0-9a-fA-F:]+)(/[0-9]+)?$ ]] \
                || die "settings.env: $name: $network is not a network"
        done
    done
}

# identifiers NAME...: these settings are names that need no quoting in SQL.
identifiers() {
    local name
    for name in "$@"; do
        [[ "${!name}" =~ ^[a-z_][a-z0-9_]*$ ]] \
            || die "settings.env: $name: ${!name} is not a name of small letters, digits and _"
    done
}

numbers() {
    local name
    for name in "$@"; do
        [[ "${!name}" =~ ^[1-9][0-9]*$ ]] || die "settings.env: $name: ${!name} is not a whole number from 1"
    done
}

# A machine has one role: the firewall of another would cut its services off.
claim_machine() {
    local was
    was="$(cat "$state/role" 2>/dev/null || true)"
    [[ -z "$was" || "$was" == "$ROLE" ]] || die "this machine is a $was already; if it is to become another one," \
        "remove what it was and then $state/role"
    echo "$ROLE" >"$state/role"
}

### Packages

ensure_packages() {
    local package missing=()
    for package in "$@"; do
        # A package may be named twice.
        [[ " ${missing[*]} " != *" $package "* ]] || continue
        [[ "$(dpkg-query --show --showformat '${db:Status-Abbrev}' "$package" 2>/dev/null)" == 'ii '* ]] \
            || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    # A machine that has just booted may be installing upgrades.
    apt_get update
    apt_get install --no-install-recommends "${missing[@]}"
    echo "installed: ${missing[*]}"
}

apt_get() {
    local log
    log="$(mktemp)"
    # Files of packages must be readable by everybody.
    if ! (umask 022 && DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3 \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -q -y "$@" >"$log" 2>&1 9>&-); then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "apt-get $* failed"
    fi
    rm -f "$log"
}

### Rendering

# file PATH [MODE [OWNER:GROUP]]: renders standard input as this file.
file() {
    local path="$1" mode="${2:-644}" owner="${3:-root:root}"
    mkdir -p "$tree${path%/*}"
    cat >"$tree$path"
    chmod "$mode" "$tree$path"
    echo "$mode $owner $path" >>"$manifest"
}

# copy SOURCE PATH [MODE [OWNER:GROUP]]: renders the source as it is.
copy() {
    [[ -f "$1" ]] || die "$1 is missing"
    file "${@:2}" <"$1"
}

# template SOURCE PATH [MODE [OWNER:GROUP]]: renders the source with each @NAME@ replaced by the variable NAME.
template() {
    local text name
    # The dot keeps the newlines at the end.
    text="$(cat "$1" && echo .)"
    text="${text%.}"
    while [[ "$text" =~ @([A-Z][A-Z0-9_]*)@ ]]; do
        name="${BASH_REMATCH[1]}"
        [[ -n "${!name+set}" ]] || die "$1: nothing is known of @$name@"
        [[ "${!name}" != *"@$name@"* ]] || die "$1: $name contains itself"
        text="${text//"@$name@"/"${!name}"}"
    done
    printf '%s' "$text" | file "${@:2}"
}

### Installing

# Installs files that differ. Removes files that an earlier run installed and this one does not, unless a pattern of
# left_alone covers them.
install_rendered() {
    local mode owner path
    mkdir "$scratch/before"
    while read -r mode owner path; do
        if is_installed "$mode" "$owner" "$path"; then continue; fi
        keep_before "$path"
        (umask 022 && mkdir -p "${path%/*}")
        # Puts the file in place in one step, so that it never has other permissions.
        install -m "$mode" -o "${owner%:*}" -g "${owner#*:}" "$tree$path" "$path.shunt-new"
        mv -f "$path.shunt-new" "$path"
        changed+=("$path")
        echo "changed: $path"
    done <"$manifest"

    local rendered
    rendered="$(awk '{ print $3 }' "$manifest" | sort)"
    while read -r path; do
        [[ -e "$path" ]] || continue
        if is_left_alone "$path"; then continue; fi
        keep_before "$path"
        rm -f "$path"
        changed+=("$path")
        echo "removed: $path"
    done < <(comm -23 <(sort "$state/files" 2>/dev/null) <(echo "$rendered"))
    echo "$rendered" >"$state/files"
}

is_installed() {
    [[ -f "$3" && ! -L "$3" ]] && cmp --silent "$tree$3" "$3" && [[ "$(stat -c '%a %U:%G' "$3")" == "$1 $2" ]]
}

is_left_alone() {
    local pattern
    for pattern in "${left_alone[@]}"; do
        # shellcheck disable=SC2053 # a pattern
        if [[ "$1" == $pattern ]]; then return 0; fi
    done
    return 1
}

keep_before() {
    if [[ -e "$1" ]]; then
        mkdir -p "$scratch/before${1%/*}"
        cp -a "$1" "$scratch/before$1"
    fi
}

# undo PATH...: puts back the files of before this run. For files that can only be checked in their place.
undo() {
    local path
    for path in "$@"; do
        [[ " ${changed[*]} " == *" $path "* ]] || continue
        if [[ -e "$scratch/before$path" ]]; then
            cp -a "$scratch/before$path" "$path"
        else
            rm -f "$path"
        fi
        echo "put back: $path" >&2
    done
}

### Services

# outdated UNIT FILE...: whether the unit was last started or reloaded with other versions of these files. The state is
# on disk: if a run is cut short between installing and restarting, the next run restarts the unit.
outdated() {
    [[ "$(digest "${@:2}")" != "$(cat "$state/$1.applied" 2>/dev/null || true)" ]]
}

applied() {
    digest "${@:2}" >"$state/$1.applied"
}

# A missing file counts as a version.
digest() {
    local path
    for path in "$@"; do
        printf '%s ' "$path"
        if [[ -e "$path" ]]; then sha256sum <"$path"; else echo -; fi
    done | sha256sum | cut -d ' ' -f 1
}

# keep_running UNIT restart|reload FILE...: the unit is enabled, runs, and has read these files.
keep_running() {
    local unit="$1" how="$2" began
    shift 2
    if [[ "$(systemctl show --property NeedDaemonReload --value "$unit")" == yes ]]; then
        systemctl daemon-reload
    fi
    if ! systemctl is-enabled --quiet "$unit" 2>/dev/null; then
        systemctl enable --quiet "$unit" 2>/dev/null || die "$unit cannot be enabled"
        echo "enabled: $unit"
    fi
    began="$(date +%s)"
    if ! systemctl is-active --quiet "$unit"; then
        systemctl reset-failed "$unit" 2>/dev/null || true
        systemctl start "$unit" || explain_failure "$unit" "$began"
        echo "started: $unit"
    elif outdated "$unit" "$@"; then
        systemctl "$how" "$unit" || explain_failure "$unit" "$began"
        echo "${how}ed: $unit"
    fi
    systemctl is-active --quiet "$unit" || explain_failure "$unit" "$began"
    applied "$unit" "$@"
}

explain_failure() {
    journalctl --quiet --no-pager --unit "$1" --since "@$2" --lines 20 >&2 || true
    die "$1 does not run"
}

# stop_and_disable UNIT: stops and disables the unit, if systemd knows it.
stop_and_disable() {
    if systemctl is-enabled --quiet "$1" 2>/dev/null || systemctl is-active --quiet "$1"; then
        systemctl disable --quiet --now "$1" || die "$1 cannot be stopped"
        echo "stopped: $1"
    fi
    rm -f "$state/$1.applied"
}
