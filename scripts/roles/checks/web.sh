# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# The settings of a web node.

check "the web node's settings are the program's" program_takes_settings
program_takes_settings() {
    local program="${SHUNT_BINARY:-target/release/shunt}" answer
    [[ -x "$program" ]] || program=target/debug/shunt
    [[ -x "$program" ]] || skip 'the program is not built (by cargo build)'
    sed "s/@POSTGRES_PASSWORD@/$postgres_password/; s/@REDIS_PASSWORD@/$redis_password/" \
        "$scratch/five_nodes/web-1/out/etc/shunt/web.env" >"$scratch/environment"
    # shellcheck disable=SC2016 # for the other shell
    answer="$(cd "$scratch" && env -i bash -c 'set -a; . ./environment; exec "$0" config' "$(cd "$repository" && realpath "$program")")"
    grep -x 'bind = "10.0.0.111:8080"' <<<"$answer"
    grep -x 'bind = "0.0.0.0:9180"' <<<"$answer"
    grep 'trusted_proxies = .*10.0.0.100.*10.0.0.101' <<<"$answer"
    grep -x 'quota = "10/minute"' <<<"$answer"
    grep -x 'drain = "10s"' <<<"$answer"
    grep 'postgres://shunt:\*\*\*@10.0.0.200:5432/shunt' <<<"$answer"
    grep 'redis://shunt:\*\*\*@10.0.0.130:6379' <<<"$answer"
}
