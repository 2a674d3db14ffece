-- For wrk: follows the links that benches/bench/fill.rs makes, in random order.
--
-- Arguments: FIRST CLIENTS LINKS. FIRST is also the seed of the random numbers.

local clients = dofile("benches/wrk/clients.lua")
local LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

local floor, random, char = math.floor, math.random, string.char
local letters = { LETTERS:byte(1, -1) }
local before, between, after, links

function init(args)
    clients.init(args)
    links = tonumber(args[3])
    math.randomseed(tonumber(args[1]))
    wrk.headers["X-Forwarded-For"] = "@"
    before, between, after = wrk.format("GET", "/@"):match("^(.-)@(.*)@(.*)$")
end

-- The character of one digit in base 62.
local function letter(number, place)
    return letters[floor(number / place) % 62 + 1]
end

function request()
    local _, client = clients.next()
    local number = random(links) * 618033989 % 56800235584
    local code = char(
        letter(number, 916132832), letter(number, 14776336), letter(number, 238328),
        letter(number, 3844), letter(number, 62), letter(number, 1)
    )
    return before .. code .. "x" .. between .. client .. after
end

done = clients.done
