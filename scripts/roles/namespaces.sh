# shellcheck shell=bash
# Namespaces: a check may mount and configure a network there, and nothing of it is left.

# in_namespaces COMMAND...: runs the command as root, with a network and mounts of its own.
in_namespaces() {
    if ((EUID == 0)) && unshare -mn true 2>/dev/null; then
        unshare -mn "$@"
    elif unshare -rmn true 2>/dev/null; then
        unshare -rmn "$@"
    else
        skip 'this system does not allow namespaces'
    fi
}

# script_for FUNCTION VARIABLE... <COMMANDS: prints a script that has every function of this shell and these variables.
# It runs the commands, then the function.
script_for() {
    echo 'set -euo pipefail'
    declare -f
    declare -p "${@:2}"
    cat
    echo "$1"
}
