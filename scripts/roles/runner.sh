# shellcheck shell=bash disable=SC2034,SC2317 # the checks use these variables, and call these functions
# Runs the checks of scripts/roles/checks.
#
# A file there registers each check with `check SENTENCE FUNCTION` above the function. Each check runs in a shell of its
# own, which has read only its file, what that file sources, and what scripts/roles-check sources. A check passes if its
# function succeeds. If the last line of its output is `skipped: WHY` (see `skip`, `need`), the check is skipped. If
# that line is `figure: WHAT`, the runner prints it beside the sentence.

repository="$PWD"
# Where Debian has programs of servers.
PATH="$PATH:/usr/sbin:/sbin"

# registered: a line "ORDER<tab>FILE<tab>FUNCTION<tab>SENTENCE" for each check, in the order in which they run.
registered() {
    local file
    for file in scripts/roles/checks/*.sh; do
        (
            # check [--first] SENTENCE FUNCTION. All others need a check that is --first: it always runs, and if it
            # fails, no other does.
            check() {
                local order=2
                if [[ "$1" == --first ]]; then order=1; shift; fi
                printf '%s\t%s\t%s\t%s\n' "$order" "$file" "$2" "$1"
            }
            # shellcheck source=/dev/null
            source "$file"
        )
    done | sort --stable --key=1,1
}

list_checks() {
    registered | cut -f 4
}

# run_checks WORDS: every check whose sentence contains the words. Exits.
run_checks() {
    local words="$1" order file function sentence
    [[ "$(list_checks)" == *"$words"* ]] || usage_error "no check has the words '$words'"
    passed=0 failed=0
    scratch="$(mktemp -d "${TMPDIR:-/tmp}/shunt-roles.XXXXXX")"
    log="$scratch/log" servers="$scratch/servers"
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    # Descriptor 9, because a check may read its standard input.
    while IFS=$'\t' read -r -u 9 order file function sentence; do
        [[ "$order" == 1 || "$sentence" == *"$words"* ]] || continue
        run_check "$file" "$function" "$sentence"
        if [[ "$order" == 1 ]] && ((failed > 0)); then break; fi
    done 9< <(registered)
    echo "roles-check: $passed passed, $failed failed"
    ((failed == 0))
    exit
}

run_check() {
    local file="$1" function="$2" sentence="$3" result=0 remark
    # In the background, so that a signal ends the script at once. Not in a condition: `set -e` would not hold there.
    (
        set -euo pipefail
        exec 9>&-
        check() { :; }
        # shellcheck source=/dev/null
        source "$file"
        "$function"
    ) >"$log" 2>&1 &
    wait "$!" || result=$?
    stop_servers
    if ((result != 0)); then
        fails "$sentence"
        tail -n 30 "$log" | sed 's/^/        /'
        return
    fi
    remark="$(tail -n 1 "$log")"
    case "$remark" in
        'skipped: '*'(optional)') echo "skip  $sentence: ${remark#skipped: }" ;;
        'skipped: '*)
            if [[ "${CI:-}" == true ]]; then
                fails "$sentence: ${remark#skipped: }"
            else
                echo "skip  $sentence: ${remark#skipped: }"
            fi
            ;;
        'figure: '*) passes "$sentence (${remark#figure: })" ;;
        *) passes "$sentence" ;;
    esac
}

passes() {
    passed=$((passed + 1))
    echo "pass  $1"
}

fails() {
    failed=$((failed + 1))
    echo "FAIL  $1"
}

# Ends the processes whose ids the check wrote to the file $servers.
stop_servers() {
    local pid tries
    [[ -f "$servers" ]] || return 0
    while read -r pid; do
        kill -TERM "$pid" 2>/dev/null || continue
        for ((tries = 0; tries < 100; tries++)); do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.05
        done
        kill -KILL "$pid" 2>/dev/null || true
    done <"$servers"
    rm -f "$servers"
}

# shellcheck disable=SC2317 # a trap calls it
clean_up() {
    stop_servers
    rm -rf "$scratch"
}

# within SECONDS COMMAND...: waits until the command succeeds.
within() {
    local until=$((SECONDS + $1))
    shift
    until "$@"; do
        if ((SECONDS >= until)); then echo "waited in vain for: $*"; exit 1; fi
        sleep 0.05
    done
}

# skip WHY: ends the check. With CI=true that is a failure, unless WHY ends with "(optional)".
skip() {
    echo "skipped: $*"
    exit 0
}

# need PROGRAM [optional]: skips the check if the program is not installed.
need() {
    command -v "$1" >/dev/null || skip "$1 is not installed${2:+ ($2)}"
}
