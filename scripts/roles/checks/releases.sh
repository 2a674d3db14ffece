# shellcheck shell=bash disable=SC2154,SC2016 # variables of the files that scripts/roles-check sources
# Releases on a web node: switched to, taken back, cut off.

# shellcheck source=scripts/roles/nodes.sh
source scripts/roles/nodes.sh

check 'a release goes back, or comes up, whatever becomes of the session that switches' release_goes_back_whatever_becomes_of_its_session
release_goes_back_whatever_becomes_of_its_session() {
    nodes_start
    in_nodes nodes_without_a_session
}

nodes_without_a_session() {
    local a never told condition
    use_node web-1
    a="$(stage_program ready)" never="$(stage_program never)" told="$(stage_program told)"
    is "$a is ready" true || release switch "$a"
    settled "$a"
    refuses "switched back to $a" release switch "$never"
    settled "$a"

    # The session ends at each stage of a switch that fails.
    for condition in true under_way "goes_for $never"; do
        session /usr/local/sbin/shunt-release switch "$never"
        # shellcheck disable=SC2086
        within 30 $condition
        session_ends
        # The switch has not begun, or it ends as it should.
        within 60 settled "$a"
    done
    # The session ends during a switch that succeeds.
    session /usr/local/sbin/shunt-release switch "$told"
    within 30 goes_for "$told"
    session_ends
    touch "$nodes/now"
    within 60 settled "$told"
}

# The switch itself is killed, or the machine loses its power.
check 'a switch that was cut off is finished or taken back' a_switch_that_was_cut_off_is_settled
a_switch_that_was_cut_off_is_settled() {
    nodes_start
    in_nodes nodes_cut_off
}

nodes_cut_off() {
    local a never told
    use_node web-1
    a="$(stage_program ready)" never="$(stage_program never)" told="$(stage_program told)"
    release switch "$a"

    # cut_off ID: kills the switch to this release while the release runs and is not ready.
    cut_off() {
        session /usr/local/sbin/shunt-release switch "$1"
        within 30 serves "$1"
        kill -KILL "$(cat "$NODE/detached")"
        wait "$session" || true
        under_way
        within 30 flock --nonblock "$SHUNT_ROOT/.lock" true
    }
    # systemd starts `settle`.
    cut_off "$never"
    refuses "a switch to $never was cut off" eval 'release settle && false'
    settled "$a"
    # The next roll-out comes first, with the same release: there still is a release to go back to.
    cut_off "$never"
    refuses "switched back to $a" release switch "$never"
    settled "$a"
    # The next roll-out comes first, with another release.
    cut_off "$never"
    touch "$nodes/now"
    release switch "$told"
    settled "$told"
    # A release that becomes ready is not taken back.
    release switch "$a"
    rm "$nodes/now"
    cut_off "$told"
    touch "$nodes/now"
    release settle
    settled "$told"
    # Killed before the release was started, while the one before still serves.
    release switch "$a"
    ln -sfn "releases/$told" "$SHUNT_ROOT/current"
    echo "$told" >"$SHUNT_ROOT/.switching"
    release settle
    settled "$a"
    # Killed before anything was changed.
    echo "$told" >"$SHUNT_ROOT/.switching"
    release settle
    settled "$a"
    # Killed after the unit was put in place, and before the program was.
    echo "$told" >"$SHUNT_ROOT/.switching"
    echo '# another' >>"$SHUNT_UNIT"
    release settle
    settled "$a"
    cmp "$SHUNT_UNIT" "$SHUNT_ROOT/current/shunt.service"
    # A switch that gets SIGTERM leaves nothing half done.
    rm "$nodes/now"
    session /usr/local/sbin/shunt-release switch "$told"
    within 30 goes_for "$told"
    kill -TERM "$(cat "$NODE/detached")"
    wait "$session" || true
    release settle || true
    settled "$a"
    # Any number of new releases leaves the last good one in place.
    local number
    for number in 1 2 3 4 5; do
        echo "SHUNT__LOG__LEVEL=\"$number\"" >>"$NODE/etc/web.env"
        stage_program never >/dev/null
    done
    [[ -d "$SHUNT_ROOT/releases/$a" ]]
}

# The disk is really full: a file that is written there is cut off.
check 'a release that cannot be put in place changes nothing, as on a full disk' a_release_that_cannot_be_put_in_place_changes_nothing
a_release_that_cannot_be_put_in_place_changes_nothing() {
    nodes_start
    in_nodes nodes_on_a_full_disk
}

nodes_on_a_full_disk() {
    local a other process
    use_node web-1
    mkdir "$NODE/systemd"
    mount -t tmpfs -o size=16k tmpfs "$NODE/systemd"
    export SHUNT_UNIT="$NODE/systemd/shunt.service"
    a="$(stage_program ready)"
    release switch "$a"
    process="$(cat "$NODE/pid")"
    # A unit that is larger than the free space.
    for ((line = 0; line < 2000; line++)); do echo '# of a unit that is long'; done >>"$NODE/etc/shunt.service"
    other="$(stage_program ready-too)"
    refuses "switched back to $a, which is ready" release switch "$other"
    settled "$a"
    cmp "$SHUNT_UNIT" "$SHUNT_ROOT/releases/$a/shunt.service"
    [[ ! -e "$SHUNT_UNIT.new" ]]
    # The release was not restarted.
    [[ "$(cat "$NODE/pid")" == "$process" ]]
    # With free space the switch succeeds.
    mount -o remount,size=1m "$NODE/systemd"
    release switch "$other"
    settled "$other"
    cmp "$SHUNT_UNIT" "$SHUNT_ROOT/releases/$other/shunt.service"

    # The link cannot be changed, neither to this release nor back: the note that a switch is under way stays.
    mkdir "$SHUNT_ROOT/.current.new"
    touch "$SHUNT_ROOT/.current.new/in-the-way"
    refuses "$a did not become ready" release switch "$a"
    goes_for "$other"
    under_way
    rm -r "$SHUNT_ROOT/.current.new"
    release settle
    settled "$other"
    # The link to the last good release cannot be changed: the switch says so, and `settle` makes up for it.
    mkdir "$SHUNT_ROOT/.good.new"
    touch "$SHUNT_ROOT/.good.new/in-the-way"
    if release switch "$a"; then echo 'a release was not remembered, and that was not said'; exit 1; fi
    rm -r "$SHUNT_ROOT/.good.new"
    release settle
    settled "$a"
}

# Redis or Postgres may be away while the same release is rolled out again.
check 'a release that serves is not restarted because something that it depends on is away' a_release_that_serves_is_not_restarted
a_release_that_serves_is_not_restarted() {
    nodes_start
    in_nodes nodes_degraded
}

nodes_degraded() {
    local a degraded process
    use_node web-1
    a="$(stage_program ready)" degraded="$(stage_program degraded)"
    release switch "$a"
    refuses "switched back to $a" release switch "$degraded"
    touch "$nodes/now"
    release switch "$degraded"
    settled "$degraded"
    process="$(cat "$NODE/pid")"
    rm "$nodes/now"
    release switch "$degraded"
    settled "$degraded"
    [[ "$(cat "$NODE/pid")" == "$process" ]]
    # A release that was never ready has to become ready.
    release switch "$a"
    session /usr/local/sbin/shunt-release switch "$degraded"
    within 30 serves "$degraded"
    kill -KILL "$(cat "$NODE/detached")"
    wait "$session" || true
    within 30 flock --nonblock "$SHUNT_ROOT/.lock" true
    refuses "switched back to $a" release switch "$degraded"
    settled "$a"
}

check 'a service is not started on an address that its machine does not have' release_wants_its_address
release_wants_its_address() {
    nodes_start
    in_nodes nodes_without_their_address
}

nodes_without_their_address() {
    local a other
    use_node web-1
    a="$(stage_program ready)"
    release switch "$a"
    sed -i 's/127.0.0.1:8080/10.9.8.7:8080/' "$NODE/etc/web.env"
    other="$(stage_program ready)"
    refuses 'this machine does not have the address 10.9.8.7' release switch "$other"
    settled "$a"
    ip address add 10.9.8.7/32 dev lo
    release switch "$other"
    settled "$other"
    # The address goes: the release runs, and is not ready.
    ip address delete 10.9.8.7/32 dev lo
    refuses 'this machine does not have the address 10.9.8.7' release switch "$other"

    local address
    for address in 127.0.0.1 127.0.0.1:8080 0.0.0.0:8080 '[::]:8080' '[::1]:8080' ::1 localhost:8080 cafe.de:80; do
        SHUNT_ADDRESS_WAIT=0 shunt-await-address "$address"
    done
    for address in 10.9.8.7 10.9.8.7:8080 '[fd00::7]:8080' fd00::7; do
        SHUNT_ADDRESS_WAIT=0 refuses 'does not have the address' shunt-await-address "$address"
    done
    # The address may come a moment after the service starts, as at boot.
    (sleep 0.5; ip address add 10.9.8.7/32 dev lo) &
    shunt-await-address 10.9.8.7:8080
}
