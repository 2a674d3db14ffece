-- For wrk: a scan that tries random codes, each from another address.
--
-- Arguments: FIRST CLIENTS. FIRST is also the seed of the random numbers, so no run tries the codes of another.

local clients = dofile("benches/wrk/clients.lua")
local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

local random, char = math.random, string.char
local letters = { LETTERS:byte(1, -1) }
local before, between, after

function init(args)
    clients.init(args)
    math.randomseed(tonumber(args[1]))
    wrk.headers["X-Forwarded-For"] = "@"
    before, between, after = wrk.format("GET", "/@"):match("^(.-)@(.*)@(.*)$")
end

function request()
    local _, client = clients.next()
    local code = char(
        letters[random(62)], letters[random(62)], letters[random(62)],
        letters[random(62)], letters[random(62)], letters[random(62)]
    )
    return before .. code .. between .. client .. after
end

done = clients.done
