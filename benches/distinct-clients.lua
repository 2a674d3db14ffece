-- For wrk: every request comes from another client, as if a trusted proxy passed them on.
--
-- X-Forwarded-For runs through a million addresses, 1.0.0.0 to 1.15.66.63. The number after `--` says where in them
-- to begin, so that a run can go on where the one before it ended.
--
-- At the end one line for the caller: "measured REQUESTS MICROSECONDS FAILED_ANSWERS FAILED_CONNECTIONS".

local CLIENTS = 1000000

local floor = math.floor
local before, after
local client

function init(args)
    client = tonumber(args[1] or 0) % CLIENTS
    wrk.headers["X-Forwarded-For"] = "@"
    -- Put together once: wrk.format would cost more than some of the servers that are measured.
    before, after = wrk.format():match("^(.*)@(.*)$")
end

function request()
    client = client + 1
    if client == CLIENTS then
        client = 0
    end
    return before .. "1." .. floor(client / 65536) .. "." .. floor(client / 256) % 256 .. "." .. client % 256 .. after
end

function done(summary)
    local errors = summary.errors
    local connections = errors.connect + errors.read + errors.write + errors.timeout
    print(string.format("measured %d %d %d %d", summary.requests, summary.duration, errors.status, connections))
end
