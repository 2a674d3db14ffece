# shellcheck shell=bash disable=SC2154,SC2034 # variables of the other files beside this one
# One function for each step of scripts/homelab/run. A step ends with `figure`, or early with `fail`.

step_boot() {
    local name began=$SECONDS names=(lb-1 web-1 web-2 redis postgres load-tester)
    for name in "${names[@]}"; do
        create_guest "$name"
        boot_guest "$name"
    done
    for name in "${names[@]}"; do
        within 60 "$name to boot" guest_is_up "$name"
        [[ "$(on "$name" systemctl is-system-running)" == running ]] || {
            on "$name" systemctl --failed
            fail "$name: a service failed at boot"
        }
    done
    (($(cat "$SCRATCH"/guests/*/root/etc/machine-id | sort -u | wc -l) == ${#names[@]})) \
        || fail "guests share a machine id"
    copy_repository
    figure "${#names[@]} guests in $((SECONDS - began)) s"
}

step_apply() {
    tf init
    # The words of all command lines, including the guests', whose processes are in this pid namespace.
    : >"$SCRATCH/sampling"
    sample_processes &
    apply
    rm "$SCRATCH/sampling"
    wait "$!"
    [[ "$(curl -sS --max-time 5 "http://${address_of[lb-1]}/")" == 'URL Shortener is running!' ]] \
        || fail "the load balancer does not answer"
    every_node_runs "$SCRATCH/shunt" web-1 web-2 || fail "a web node runs something else"
    figure "$apply_seconds s for 6 machines; release $(on web-1 shunt-release current)"
}

sample_processes() {
    while [[ -e "$SCRATCH/sampling" ]]; do
        # A process may end meanwhile.
        cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\0' '\n' || true
        sleep 0.05
    done | awk '!seen[$0]++ { print; fflush() }' >"$SCRATCH/log/words-of-processes"
}

step_secrets() {
    local name role mode file found
    on web-1 cat /etc/shunt/secrets.env </dev/null | sed -n "s/^[A-Z_]*='\(.*\)'$/\1/p" >"$SCRATCH/passwords"
    (($(wc -l <"$SCRATCH/passwords") == 2)) || fail "web-1 does not have two passwords"

    # If these words were missing, the sample would prove nothing.
    grep -q 'role/install.sh' "$SCRATCH/log/words-of-processes" || fail "the sample lacks the guests' processes"
    grep -q 'put-secrets' "$SCRATCH/log/words-of-processes" || fail "the sample lacks Terraform's processes"
    if grep -nFf "$SCRATCH/passwords" "$SCRATCH/log/words-of-processes"; then
        fail "a password was in a list of processes"
    fi
    if grep -nFf "$SCRATCH/passwords" "$SCRATCH/log/apply.log"; then
        fail "terraform printed a password"
    fi

    for name in web-1 web-2 redis postgres; do
        mode="$(on "$name" stat -c '%a %U' /etc/shunt /etc/shunt/secrets.env </dev/null | paste -sd' ')"
        [[ "$mode" == '700 root 600 root' ]] || fail "$name: /etc/shunt and secrets.env are $mode"
    done
    for name in redis postgres; do
        (($(on "$name" grep -c = /etc/shunt/secrets.env </dev/null) == 1)) || fail "$name knows more than its own password"
    done
    for name in lb-1 load-tester; do
        if on "$name" test -e /etc/shunt/secrets.env </dev/null; then fail "$name has secrets"; fi
    done

    # All files that guests wrote, that everybody can read, and that lie below folders that everybody can enter.
    for name in lb-1 web-1 web-2 redis postgres load-tester; do
        while IFS= read -r -d '' file; do
            if grep -qFf "$SCRATCH/passwords" "$file"; then
                fail "$name: everybody can read a password in ${file#"$SCRATCH/guests/$name/upper"}"
            fi
        done < <(find "$SCRATCH/guests/$name/upper" -type d ! -perm -o=x -prune -o -type f -perm -o=r -print0)
        # shellcheck disable=SC2016 # for the guest's shell
        found="$(on "$name" bash -c 'words="$(cat)"; journalctl --quiet --no-pager | grep -cF "$words" || true' \
            <"$SCRATCH/passwords")"
        ((found == 0)) || fail "$name: a password is in the journal"
    done
    figure "in none of $(wc -l <"$SCRATCH/log/words-of-processes") words of processes, 6 journals, or readable files"
}

# services: prints the process ids of all services, which show a restart.
services() {
    local name
    for name in lb-1 web-1 web-2 redis postgres; do
        echo "$name $(on "$name" systemctl show -P MainPID -P InvocationID nginx shunt redis-server 'postgresql@*' </dev/null \
            | paste -sd' ')"
    done
}

step_unchanged() {
    plan_is_empty || fail "a second plan wants to change something"

    # Sets up everything once more: secrets, every role, the release.
    local resource arguments=() before
    while read -r resource; do
        arguments+=("-replace=$resource")
    done < <(tf state list | grep '^module.service.terraform_data')
    ((${#arguments[@]} >= 10)) || fail "only ${#arguments[@]} resources"
    before="$(services)"
    apply "${arguments[@]}" | tee "$SCRATCH/again"
    # The output of set-up and roll-out, without Terraform's own lines.
    sed -n 's/^.* (local-exec): //p' "$SCRATCH/again" | grep -v '^Executing: \|^(output suppressed\|^web-[0-9]*: ready with \|: runs .* is to run ' \
        >"$SCRATCH/said" || true
    [[ ! -s "$SCRATCH/said" ]] || fail "it said: $(head -n 3 "$SCRATCH/said" | paste -sd' ')"
    diff <(echo "$before") <(services) || fail "a service was restarted"
    plan_is_empty || fail "a third plan wants to change something"
    figure "no change in the plan; ${#arguments[@]} steps done again, nothing changed, nothing restarted"
}

# probe FROM TARGET...: prints the targets (NAME:PORT) that FROM can connect to.
probe() {
    local from="$1" target pairs=()
    shift
    for target in "$@"; do
        pairs+=("$target=${address_of[${target%:*}]}/${target#*:}")
    done
    # shellcheck disable=SC2016 # for the other shell
    local script='for pair in "$@"; do
        (timeout 1 bash -c "</dev/tcp/${pair#*=}" 2>/dev/null && echo "${pair%%=*}") &
    done; wait'
    if [[ "$from" == operator ]]; then
        bash -c "$script" bash "${pairs[@]}" | sort
    else
        on "$from" bash -c "$script" bash "${pairs[@]}" </dev/null | sort
    fi
}

step_firewall() {
    local name port targets=() names=(lb-1 web-1 web-2 redis postgres load-tester)
    for name in "${names[@]}"; do
        # All ports that something listens on beyond loopback, and ports that should be open, or could be by mistake.
        while read -r port; do
            targets+=("$name:$port")
        done < <({
            on "$name" ss -Hltn </dev/null | awk '$4 !~ /^(127\.|\[::1\])/ { sub(/.*:/, "", $4); print $4 }'
            printf '%s\n' 22 80 443 5432 6379 8080 9180
        } | sort -un)
        port="$(on "$name" ss -Hlun </dev/null | awk '$4 !~ /^(127\.|\[::1\])/ { print $4 }')"
        [[ -z "$port" ]] || fail "$name listens on UDP $port"
    done
    echo "targets: ${targets[*]}"

    # The ports of the picture: the service and SSH, for clients and for the load tester.
    local outside=(lb-1:22 lb-1:80 load-tester:22 postgres:22 redis:22 web-1:22 web-2:22) from expected found
    for from in operator load-tester redis web-1 web-2 lb-1 postgres; do
        expected=("${outside[@]}")
        case "$from" in
            web-*) expected+=(redis:6379 postgres:5432) ;;
            lb-1) expected+=(web-1:8080 web-2:8080) ;;
        esac
        # A guest reaches itself through loopback, which is open.
        found="$(probe "$from" "${targets[@]}" | grep -v "^$from:" || true)"
        diff <(printf '%s\n' "${expected[@]}" | grep -v "^$from:" | sort) <(echo "$found") \
            || fail "from $from, other ports are open than should be"
    done
    # These ports are closed not only by the firewall.
    on redis ss -Hltn </dev/null | grep "${address_of[redis]}:6379" || fail "Redis does not listen on its address"
    on web-1 ss -Hltn </dev/null | grep '127.0.0.1:9180' || fail "web-1's probes are not on loopback"
    figure "${#targets[@]} ports, asked for from 7 places: open are SSH, lb-1:80, and each role's to those who need it"
}

step_proof() {
    local status=0
    "${guest_ssh[@]}" "${address_of[load-tester]}" shunt-proof </dev/null | tee "$SCRATCH/proof" || status=$?
    ((status == 0)) || fail "shunt-proof ended with $status"
    grep -q 'proved: 10 requests were admitted .* allows exactly 10' "$SCRATCH/proof" || fail "shunt-proof does not say that exactly 10 were admitted"
    local spread
    spread="$(on lb-1 cat /var/log/nginx/shunt.json </dev/null \
        | jq -r 'select(.client == "'"${address_of[load-tester]}"'") | .upstream' | sort | uniq -c | awk '{ print $2 ": " $1 }' | paste -sd, | sed 's/,/, /g')"
    grep -q "${address_of[web-1]}.*${address_of[web-2]}" <<<"$spread" || fail "not every web node was asked: $spread"
    figure "$(sed -n 's/^ *answers *//p' "$SCRATCH/proof" | head -n 1); $spread"
}

# another_release: prints the path of the program with one more byte, so that it runs alike and is another file.
another_release() {
    cp "$SCRATCH/shunt" "$SCRATCH/release"
    printf '\0' >>"$SCRATCH/release"
    chmod 0755 "$SCRATCH/release"
    set_release "$SCRATCH/release"
}

step_release() {
    local before
    before="$(on web-1 shunt-release current </dev/null)"
    start_load
    another_release
    apply
    no_request_failed
    every_node_runs "$SCRATCH/shunt" web-1 web-2 || fail "not every node runs the new release"
    figure "$before → $(on web-1 shunt-release current </dev/null) in $apply_seconds s; $load_text"
}

# broken_release [OPTION]: compiles broken.c.
broken_release() {
    cp "$SCRATCH/shunt" "$SCRATCH/good"
    # Static, so that it does not need this machine's glibc.
    cc -O1 -static "$@" -o "$SCRATCH/broken" "$here/broken.c"
    start_load
    set_release "$SCRATCH/broken"
    local status=0
    apply | tee "$SCRATCH/refusal" || status=$?
    set_release "$SCRATCH/good"
    ((status != 0)) || fail "the apply succeeded with a broken release"
    grep -q 'does not become ready' "$SCRATCH/refusal" || fail "the apply does not say that a node does not become ready"
    no_request_failed
    every_node_runs "$SCRATCH/good" web-1 web-2 || fail "the release before is not everywhere"
}

step_exits() {
    broken_release
    figure "switched back, the apply fails and says so; $load_text"
}

step_hangs() {
    broken_release -DHANGS
    figure "switched back, the apply fails and says so; $load_text"
}

step_repaired() {
    start_load
    another_release
    apply
    no_request_failed
    every_node_runs "$SCRATCH/shunt" web-1 web-2 || fail "not every node runs the new release"
    plan_is_empty || fail "the plan after it wants to change something"
    figure "applied in $apply_seconds s; $load_text"
}

# inside NAME COMMAND...: runs the command as root in the guest, without SSH.
inside() {
    nsenter --target "$(pgrep -P "$(<"$SCRATCH/guests/$1/pid")")" --all "${@:2}" </dev/null
}

# settled NAME ID: the release runs and is ready, and no switch is under way.
settled() {
    [[ "$(inside "$1" readlink /opt/shunt/good)" == "releases/$2" ]] || return 1
    [[ "$(inside "$1" shunt-release current)" == "$2" ]] || return 1
    inside "$1" bash -c '[[ ! -e /opt/shunt/.switching ]] && flock --nonblock /opt/shunt/.lock true' || return 1
    inside "$1" systemctl is-active --quiet shunt
}

current_is_not() {
    [[ "$(inside "$1" shunt-release current)" != "$2" ]]
}

# start_apply NAME ID: starts an apply in a session of its own. Returns when this node no longer runs this release.
start_apply() {
    setsid bash -c "$(declare -f tf); module='$module'; tf apply -auto-approve" >"$SCRATCH/log/started-apply.log" 2>&1 </dev/null &
    applying=$!
    within 120 "$1 to switch" current_is_not "$1" "$2"
}

# kill_apply: kills the apply and all that it started here. Terraform starts commands in process groups of their own, so
# this goes by names, which no other process of this pid namespace has.
kill_apply() {
    kill -KILL -- "-$applying"
    pkill -KILL -f "^bash $repository/terraform/scripts/roll-out" || true
    pkill -KILL -f "^ssh .*shunt-release" || true
    wait "$applying" 2>/dev/null || true
}

step_interrupted() {
    local before other
    # Each node has its own settings, and so its own release id.
    before="$(on web-1 shunt-release current </dev/null)"
    other="$(on web-2 shunt-release current </dev/null)"
    cp "$SCRATCH/shunt" "$SCRATCH/good"
    cc -O1 -static -DHANGS -o "$SCRATCH/broken" "$here/broken.c"
    # Not the file of an earlier step, which the nodes have already.
    echo interrupted >>"$SCRATCH/broken"
    start_load
    set_release "$SCRATCH/broken"

    start_apply web-1 "$before"
    kill_apply
    # The node goes back by itself, after the minute in which the release could become ready.
    within 120 "web-1 to go back by itself" settled web-1 "$before"
    local status=0
    apply | tee "$SCRATCH/refusal" || status=$?
    ((status != 0)) || fail "the apply succeeded with a broken release"
    grep -q "switched back to $before, which is ready" "$SCRATCH/refusal" || fail "after an interruption there is nothing to go back to"
    settled web-1 "$before" || fail "web-1 did not go back to $before"

    # Kills the switch itself.
    start_apply web-1 "$before"
    inside web-1 systemctl kill --signal KILL 'shunt-switch-*'
    if wait "$applying"; then fail "the apply succeeded, although the switch was killed"; fi
    within 120 "web-1 to go back after its switch was killed" settled web-1 "$before"

    start_apply web-1 "$before"
    kill_apply
    kill_guest web-1
    boot_guest web-1
    within 60 "web-1 to boot" guest_is_up_again web-1
    within 180 "web-1 to go back after its power was cut" settled web-1 "$before"
    set_release "$SCRATCH/good"
    apply
    end_load
    ((failed_gets == 0)) || fail "$failed_gets GETs failed, $failed_posts POSTs; $load_text"
    settled web-1 "$before" || fail "web-1 does not run $before"
    settled web-2 "$other" || fail "web-2 does not run $other"
    figure "back to $before by itself each time; $load_text ($failed_posts POSTs, when the power went)"
}

# A guest that is `starting` counts as up: shunt-settle.service is part of the start, and takes a minute.
guest_is_up_again() {
    on "$1" true 2>/dev/null </dev/null
}

is_held() {
    ! inside "$1" flock --nonblock /opt/shunt/.held true
}

step_two() {
    local before pid status=0
    before="$(on web-1 shunt-release current </dev/null)"
    start_load
    another_release
    # Another operator's copy of everything, with the same state.
    cp -r "$repository" "$SCRATCH/second"
    apply >"$SCRATCH/log/first-apply.log" 2>&1 &
    pid=$!
    within 60 "web-1 to be held" is_held web-1
    module="$SCRATCH/second/terraform/existing-hosts" apply | tee "$SCRATCH/refusal" || status=$?
    ((status != 0)) || fail "a second roll-out was made at the same time"
    grep -q 'another roll-out is under way on this node, since .*, by ' "$SCRATCH/refusal" || fail "the second does not say why it fails"
    grep -q 'Nothing was changed' "$SCRATCH/refusal" || fail "the second may have changed something"
    wait "$pid" || fail "the first failed: $(tail -n 3 "$SCRATCH/log/first-apply.log" | paste -sd' ')"
    no_request_failed
    every_node_runs "$SCRATCH/shunt" web-1 web-2 || fail "not every node runs the new release"
    # Now nothing is in the way.
    module="$SCRATCH/second/terraform/existing-hosts" apply || fail "the second fails after the first was done"
    figure "the second fails at once, and says since when and by whom; $load_text"
}

says() {
    inside "$1" journalctl --quiet --no-pager --unit shunt.service --since "@$2" | grep -F -- "$3" >/dev/null
}

is_active() {
    inside "$1" systemctl is-active --quiet shunt
}

step_moved() {
    local began address="${address_of[web-2]}"
    began="$(date +%s)"
    inside web-2 ip address add 10.0.0.119/24 dev host0
    inside web-2 ip address delete "$address/24" dev host0
    inside web-2 systemctl restart shunt || true
    within 30 "web-2 to say that it has another address" says web-2 "$began" "this machine does not have the address $address; it has 10.0.0.119/24"
    if is_active web-2; then fail "systemd says that web-2 is active"; fi
    inside web-2 ip address add "$address/24" dev host0
    inside web-2 ip address delete 10.0.0.119/24 dev host0 || true
    within 60 "web-2 to come back with its address" is_active web-2
    within 30 "web-2 to get requests" node_gets_requests_now web-2
    figure "not active, and says why; back by itself with the address"
}

node_gets_requests_now() {
    curl -sS --max-time 5 -o /dev/null "http://${address_of[lb-1]}/"
    node_gets_requests "$1"
}

# node_gets_requests NAME: nginx sends requests to this node.
node_gets_requests() {
    # Not --quiet, which would end grep before ssh.
    on lb-1 tail -n 50 /var/log/nginx/shunt.json </dev/null \
        | grep "\"upstream\":\"${address_of[$1]}:8080\",\"upstream_status\":\"[23]" >/dev/null
}

step_killed() {
    local began
    start_load
    kill_guest web-1
    # For longer than nginx waits for an answer.
    sleep 20
    if node_gets_requests web-1; then fail "web-1 answers"; fi
    began=$SECONDS
    boot_guest web-1
    within 60 "web-1 to answer requests again" node_gets_requests web-1
    began=$((SECONDS - began))
    end_load
    ((requests >= 2 * load_rate)) || fail "only $requests requests were sent"
    ((failed_gets == 0)) || fail "$failed_gets GETs failed, $failed_posts POSTs; $load_text"
    every_node_runs "$SCRATCH/shunt" web-1 web-2 || fail "web-1 came back with another release"
    figure "$load_text ($failed_posts POSTs); back $began s after power-on"
}

all_links() {
    on postgres sudo -u postgres psql -d shunt -Atc \
        "SELECT count(*), md5(string_agg(short_code || ' ' || original_url, ',' ORDER BY short_code)) FROM urls" </dev/null
}

step_restore() {
    local before answer code took
    start_load
    end_load
    answer="$(curl -sS --max-time 5 -d url=https://example.com/before-the-backup "http://${address_of[lb-1]}/shorten")"
    code="$(jq -r .code <<<"$answer")"
    before="$(all_links)"
    echo "before: $before"
    on postgres systemctl start shunt-backup </dev/null
    on postgres shunt-backup --latest </dev/null >"$SCRATCH/shunt.dump"

    delete_guest postgres
    create_guest postgres
    boot_guest postgres
    within 60 "the new postgres to boot" guest_is_up postgres
    set_variable instances '{ postgres = "another" }'
    apply
    [[ "$(all_links 2>/dev/null || true)" != "$before" ]] || fail "the new database is not empty"
    "${guest_ssh[@]}" "${address_of[postgres]}" 'cat >shunt.dump' <"$SCRATCH/shunt.dump"
    took=$SECONDS
    "${guest_ssh[@]}" "${address_of[postgres]}" sudo shunt-restore shunt.dump </dev/null
    took=$((SECONDS - took))
    [[ "$(all_links)" == "$before" ]] || fail "before: $before, after: $(all_links)"
    # Again where there are links: only with --replace.
    if "${guest_ssh[@]}" "${address_of[postgres]}" sudo shunt-restore shunt.dump </dev/null; then
        fail "shunt-restore took the place of links that were there"
    fi
    "${guest_ssh[@]}" "${address_of[postgres]}" sudo shunt-restore --replace shunt.dump </dev/null
    [[ "$(all_links)" == "$before" ]] || fail "before: $before, after --replace: $(all_links)"
    # By every node, and on new connections.
    for _ in 1 2 3 4; do
        [[ "$(curl -sS --max-time 5 -o /dev/null -w '%{redirect_url}' "http://${address_of[lb-1]}/$code")" \
            == https://example.com/before-the-backup ]] || fail "a restored link is not followed"
    done
    answer="$(curl -sS --max-time 5 -d url=https://example.com/after-the-restore "http://${address_of[lb-1]}/shorten")"
    [[ "$answer" == *'"code"'* ]] || fail "no new link after the restore: $answer"
    plan_is_empty || fail "the plan after it wants to change something"
    figure "${before%|*} links, all there; new machine set up in $apply_seconds s, restored in $took s"
}

# clusters: prints the clusters of the database's machine, each as a line "VERSION/NAME PORT STATUS".
clusters() {
    on postgres pg_lsclusters --no-header </dev/null | awk '{ print $1 "/" $2, $3, $4 }'
}

# cluster_files VERSION: prints the files that the role has written for this cluster.
cluster_files() {
    on postgres find "/etc/postgresql/$1" -type f -exec sha256sum {} + </dev/null | sort -k 2
}

service_works() {
    local answer code url="https://example.com/$1"
    answer="$(curl -sS --max-time 5 -d "url=$url" "http://${address_of[lb-1]}/shorten")"
    code="$(jq -r .code <<<"$answer")"
    for _ in 1 2 3 4; do
        [[ "$(curl -sS --max-time 5 -o /dev/null -w '%{redirect_url}' "http://${address_of[lb-1]}/$code")" == "$url" ]] || return 1
    done
}

upgrade_is_under_way() {
    on postgres test -e /var/lib/shunt-role/upgrading </dev/null
}

step_upgrade() {
    local root="$SCRATCH/guests/postgres/root" before files pid took resource='module.service.terraform_data.role["postgres"]'
    start_load
    end_load
    service_works before-the-upgrade || fail "the service does not work before"
    before="$(all_links)"
    echo "before: $before"

    # Upgrades as the release notes of Debian 13 say, from packages that are there already.
    cp "$NEXT/sources.list" "$root/etc/apt/sources.list"
    cp -r "$NEXT"/lists/. "$root/var/lib/apt/lists/"
    cp -r "$NEXT"/archives/. "$root/var/cache/apt/archives/"
    took=$SECONDS
    on postgres env DEBIAN_FRONTEND=noninteractive apt-get -qy --no-download --no-install-recommends \
        -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -o Dpkg::Options::=--force-unsafe-io full-upgrade </dev/null
    echo "full-upgrade took $((SECONDS - took)) s"
    # Restarts Postgres, so that it uses its new libraries.
    on postgres systemctl restart postgresql </dev/null
    within 60 "the service to work with an upgraded machine" service_works after-the-full-upgrade
    on postgres cat /etc/debian_version </dev/null | grep '^13'
    # Makes an empty cluster, which not every version of postgresql-common does.
    clusters | grep '^17/main ' || on postgres pg_createcluster 17 main --start </dev/null
    clusters | tee "$SCRATCH/clusters"
    grep -x '15/main 5432 online' "$SCRATCH/clusters" || fail "Postgres 15 is not what it was"
    grep -x '17/main 5433 online' "$SCRATCH/clusters" || fail "there is no newer Postgres beside it: there is nothing to try"

    # Setting the machine up again leaves the links where they are, even after a restart.
    before="$(all_links)"
    files="$(cluster_files 15)"
    apply "-replace=$resource" | tee "$SCRATCH/again"
    if grep ': \(changed\|removed\|created\|restarted\): ' "$SCRATCH/again"; then fail "the role changed something beside a newer Postgres"; fi
    diff <(echo "$files") <(cluster_files 15) || fail "the role changed the files of the cluster with the links"
    on postgres systemctl restart postgresql </dev/null
    [[ "$(all_links)" == "$before" ]] || fail "after a restart the links are others"

    # A power cut in the middle of the upgrade.
    within 60 "the service to work" service_works before-the-power-cut
    before="$(all_links)"
    on postgres shunt-postgres-upgrade </dev/null &
    pid=$!
    within 120 "the upgrade to begin copying" upgrade_is_under_way
    kill_guest postgres
    kill "$pid" 2>/dev/null || true
    boot_guest postgres
    within 60 "postgres to boot" guest_is_up postgres
    clusters
    if apply "-replace=$resource"; then fail "the role went over an upgrade that was cut off"; fi

    took=$SECONDS
    on postgres shunt-postgres-upgrade </dev/null | tee "$SCRATCH/said"
    took=$((SECONDS - took))
    grep "^the same in both: .* ${before%%|*} links\$" "$SCRATCH/said" || fail "the upgrade does not say that the links are the same"
    [[ "$(all_links)" == "$before" ]] || fail "before: $before, after: $(all_links)"
    clusters | tee "$SCRATCH/clusters"
    grep -x '17/main 5432 online' "$SCRATCH/clusters" || fail "the new cluster is not in the old one's place"
    grep '^15/main [0-9]* down' "$SCRATCH/clusters" || fail "the old cluster is not kept, stopped"
    on postgres sudo -u postgres psql -Atc 'SHOW server_version' </dev/null | grep '^17'
    within 60 "the service to work with Postgres 17" service_works after-the-upgrade
    on postgres shunt-postgres-upgrade </dev/null | grep 'Nothing to do'
    apply "-replace=$resource" | tee "$SCRATCH/again"
    if grep ': \(changed\|removed\|created\|restarted\): ' "$SCRATCH/again"; then fail "the role changed something after the upgrade"; fi
    cluster_files 15 | grep pg_hba.conf || fail "the role removed files of the old cluster"
    plan_is_empty || fail "the plan after it wants to change something"

    # Backups come from the new cluster, by its own programs, and the old Postgres cannot read them.
    local links
    on postgres systemctl start shunt-backup </dev/null
    on postgres shunt-backup --latest </dev/null >"$SCRATCH/shunt.dump"
    "${guest_ssh[@]}" "${address_of[postgres]}" 'cat >shunt.dump' <"$SCRATCH/shunt.dump"
    links="$(all_links)"
    on postgres shunt-restore --replace /home/debian/shunt.dump </dev/null
    [[ "$(all_links)" == "$links" ]] || fail "before: $links, after the restore: $(all_links)"

    on postgres shunt-postgres-upgrade --back </dev/null
    [[ "$(all_links)" == "$before" ]] || fail "before: $before, after going back: $(all_links)"
    on postgres shunt-restore --replace /home/debian/shunt.dump </dev/null 2>&1 | tee "$SCRATCH/said" && fail "Postgres 15 read a dump of 17"
    grep 'is of a newer Postgres: pg_dump 17.* wrote it.*restore it where Postgres 17 or newer is installed' "$SCRATCH/said" \
        || fail "it does not say that the dump is of a newer Postgres"
    within 60 "the service to work with Postgres 15 again" service_works after-going-back
    # A second upgrade stops at the cluster that is in the way.
    if on postgres shunt-postgres-upgrade </dev/null 2>&1 | tee "$SCRATCH/said"; then fail "the upgrade removed a cluster with links"; fi
    grep '17/main is there already, and is not empty' "$SCRATCH/said" || fail "it does not say what is in the way"
    on postgres pg_dropcluster 17 main </dev/null
    on postgres shunt-postgres-upgrade </dev/null
    within 60 "the service to work" service_works at-the-end
    on postgres pg_dropcluster 15 main </dev/null
    apply "-replace=$resource"
    within 60 "the service to work" service_works without-the-old-one
    figure "${before%%|*} links, the same in both; set up again beside a newer Postgres nothing changed; cut off and run again: $took s"
}

step_scale() {
    local up down
    create_guest web-3
    boot_guest web-3
    within 60 "web-3 to boot" guest_is_up web-3
    start_load
    set_web_nodes web-1 web-2 web-3
    apply
    up=$apply_seconds
    within 10 "web-3 to get requests" node_gets_requests web-3
    every_node_runs "$SCRATCH/shunt" web-1 web-2 web-3 || fail "web-3 runs something else"
    # As terraform/README.md says: first nginx forgets the nodes, then they are turned off.
    set_variable drained_web_nodes '["web-2", "web-3"]'
    apply
    down=$apply_seconds
    set_variable drained_web_nodes '[]'
    set_web_nodes web-1
    apply
    down=$((down + apply_seconds))
    plan_is_empty || fail "with one node the plan wants to change something"
    set_web_nodes web-1 web-2
    apply
    within 10 "web-2 to get requests" node_gets_requests web-2
    no_request_failed
    plan_is_empty || fail "with two nodes the plan wants to change something"
    figure "2 → 3 in $up s, → 1 in $down s, → 2 in $apply_seconds s; $load_text"
}
