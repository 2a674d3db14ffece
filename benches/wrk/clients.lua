-- Used by the scripts beside this one: the addresses of many clients, and the line with the results.
--
-- wrk's arguments after `--` begin with FIRST CLIENTS. Requests are numbered from FIRST, so a run can go on where the
-- one before it ended. Request n comes from client n modulo CLIENTS. There are at most 16777216 clients.

local floor = math.floor
local number, clients

local M = {}

function M.init(args)
    number = tonumber(args[1])
    clients = tonumber(args[2])
end

-- The number of the next request, and the address of its client.
function M.next()
    local client = number % clients
    number = number + 1
    return number - 1, "1." .. floor(client / 65536) .. "." .. floor(client / 256) % 256 .. "." .. client % 256
end

-- "measured REQUESTS MICROSECONDS FAILED_ANSWERS FAILED_CONNECTIONS P50 P99 P99.9", latencies in microseconds.
function M.done(summary, latency)
    local errors = summary.errors
    local connections = errors.connect + errors.read + errors.write + errors.timeout
    print(string.format(
        "measured %d %d %d %d %d %d %d",
        summary.requests, summary.duration, errors.status, connections,
        latency:percentile(50), latency:percentile(99), latency:percentile(99.9)
    ))
end

return M
