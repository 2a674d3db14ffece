# shellcheck shell=bash
# For the scripts beside this one: commands as root on a machine, written NAME=ADDRESS=INSTANCE.
#
#   SSH_COMMAND       the program, and perhaps options of it
#   SSH_USER          who logs in: root, or somebody with sudo and no password
#   SSH_PORT, SSH_KEY port, and key file (empty: as ssh itself decides)
#   SSH_KNOWN_HOSTS   where the machines' keys are remembered
#   SSH_WAIT          seconds until a machine has to answer

: "${SSH_COMMAND:?}" "${SSH_USER:?}" "${SSH_PORT:?}" "${SSH_KNOWN_HOSTS:?}" "${SSH_WAIT:?}"

name_of() { cut -d= -f1 <<<"$1"; }

# as_root HOST WORD...: runs a command on the machine, with the standard input of the caller.
as_root() {
    local name address instance command=() options words quote="'\\''"
    IFS='=' read -r name address instance <<<"$1"
    shift
    read -ra command <<<"$SSH_COMMAND"
    options=(
        -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 -o LogLevel=ERROR
        # Trusts a key the first time. A replaced machine has another instance, and so may have another key.
        -o StrictHostKeyChecking=accept-new -o "UserKnownHostsFile=$SSH_KNOWN_HOSTS" -o "HostKeyAlias=$name.$instance"
        -p "$SSH_PORT" -l "$SSH_USER"
    )
    [[ -z "${SSH_KEY:-}" ]] || options+=(-i "$SSH_KEY" -o IdentitiesOnly=yes)
    # In single quotes, which every shell reads alike. printf's %q is for bash only.
    words="$(printf " '%s'" "${@//\'/$quote}")"
    [[ "$SSH_USER" == root ]] || words="sudo -n$words"
    "${command[@]}" "${options[@]}" "$address" "$words"
}

# Waits until the machine answers, and until cloud-init, if it has one, is done.
wait_for() {
    local deadline=$((SECONDS + SSH_WAIT)) error
    until error="$(as_root "$1" true </dev/null 2>&1)"; do
        if ((SECONDS >= deadline)); then
            echo "$(name_of "$1") cannot be logged in to, after $SSH_WAIT s: $error" >&2
            return 1
        fi
        sleep 2
    done
    # 2: done, with warnings. A later step names what it lacks.
    as_root "$1" bash -c "! command -v cloud-init >/dev/null || timeout $SSH_WAIT cloud-init status --wait >/dev/null || ((\$? == 2))" </dev/null || {
        echo "$(name_of "$1"): cloud-init failed, or takes longer than $SSH_WAIT s; see \`cloud-init status --long\` there" >&2
        return 1
    }
}
