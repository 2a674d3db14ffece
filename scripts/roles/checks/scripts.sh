# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# The scripts that run on the machines.

check 'scripts are clean by shellcheck' shellcheck_all
shellcheck_all() {
    need shellcheck
    local scripts
    mapfile -t scripts < <(grep -rlE '^(#!.*\b(ba)?sh|# shellcheck shell=)' terraform --exclude-dir=.terraform | sort)
    ((${#scripts[@]} >= 12))
    shellcheck --external-sources --source-path=SCRIPTDIR "${scripts[@]}" nginx/reload-certificate scripts/roles-check \
        scripts/roles/*.sh scripts/roles/checks/*.sh
    echo "figure: ${#scripts[@]} scripts"
}
