-- For wrk: every request comes from another client, as through a trusted proxy.
--
-- Arguments: FIRST CLIENTS [BODY]. With a BODY, a form, the requests are POSTs.

local clients = dofile("benches/wrk/clients.lua")
local before, after

function init(args)
    clients.init(args)
    wrk.headers["X-Forwarded-For"] = "@"
    if args[3] then
        wrk.method = "POST"
        wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
        wrk.body = args[3]
    end
    -- Built once: wrk.format would cost more than some of the servers that are measured.
    before, after = wrk.format():match("^(.*)@(.*)$")
end

function request()
    local _, client = clients.next()
    return before .. client .. after
end

done = clients.done
