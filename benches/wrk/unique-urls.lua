-- For wrk: every request shortens a new URL, each from another address.
--
-- Arguments: FIRST CLIENTS. The number of a request is part of its URL.

local clients = dofile("benches/wrk/clients.lua")
local format = string.format
local before, after

function init(args)
    clients.init(args)
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
    wrk.headers["X-Forwarded-For"] = "@"
    -- Always the same number of digits, so that Content-Length is constant.
    wrk.body = "url=https%3A%2F%2Fexample.com%2Fpage%2F" .. format("%012d", 0)
    before, after = wrk.format():match("^(.*)@(.*)%d%d%d%d%d%d%d%d%d%d%d%d$")
end

function request()
    local number, client = clients.next()
    return before .. client .. after .. format("%012d", number)
end

done = clients.done
