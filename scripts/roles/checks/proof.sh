# shellcheck shell=bash disable=SC2154 # variables of the files that scripts/roles-check sources
# The proof of the load tester, and its judge.

# With a fake k6 that reports the numbers that it is given.
check 'shunt-proof proves nothing but the limit' proof_is_strict
proof_is_strict() {
    local out="$scratch/one_node/load-tester/out"
    mkdir -p "$scratch/bin"
    # shellcheck disable=SC2016 # for the other shell
    printf '%s\n' '#!/bin/sh' '[ -z "$ADMITTED" ] || echo "  answers     $ADMITTED admitted, 7 refused" >"$REPORTS/rate-limit.txt"' \
        '[ -z "$ALLOWED" ] || echo "  allowed     $ALLOWED, by the times of the requests" >>"$REPORTS/rate-limit.txt"' \
        'echo "$BASE_URL $QUOTA $WINDOW $CLIENTS" >"$REPORTS/seen"' 'exit "$RESULT"' >"$scratch/bin/k6"
    chmod +x "$scratch/bin/k6"
    proof 10 '10 to 10' 0 | grep -F 'where a limit of 10 in 60 s allows exactly 10'
    proof 12 '11 to 13' 0
    [[ "$(cat "$scratch/reports/seen")" == 'http://10.0.0.100 10 60 1' ]]
    local given admitted allowed result
    for given in '11,10 to 10,0' '9,10 to 10,0' '9,9 to 10,0' '10,10 to 10,99' '10,,0' ',10 to 10,0' ',,0' '14,11 to 13,0'; do
        IFS=, read -r admitted allowed result <<<"$given"
        if proof "$admitted" "$allowed" "$result"; then echo "taken for a proof: $given"; exit 1; fi
    done
}

# proof ADMITTED ALLOWED RESULT: runs shunt-proof, with a k6 that reports these numbers and exits with RESULT.
proof() {
    PATH="$scratch/bin:$PATH" REPORTS="$scratch/reports" SHUNT_PROOF_CONF="$out/etc/shunt-proof.conf" \
        SHUNT_LOAD_TESTING="$out/opt/shunt-load-testing" ADMITTED="$1" ALLOWED="$2" RESULT="$3" bash "$out/usr/local/bin/shunt-proof"
}

check 'the judge of the proof finds every wrong limit, and no right one' judge_is_right
judge_is_right() {
    need node
    local folder="$scratch/judge"
    mkdir "$folder"
    cp load-testing/lib/judge.js load-testing/lib/judge.test.js "$folder"
    # Tells node that .js files are modules.
    echo '{ "type": "module" }' >"$folder/package.json"
    node "$folder/judge.test.js"
}
