-- For wrk: like distinct-clients.lua, but every connection pauses between an answer and its next request, so that the
-- rate stays below the server's full rate.
--
-- Arguments: FIRST CLIENTS MICROSECONDS. A pause is between 0.5 and 1.5 times as long, at random. With equal pauses all
-- connections would soon send at the same moments.

dofile("benches/wrk/distinct-clients.lua")

local floor, random = math.floor, math.random
local unpaced_init = init
local pause

function init(args)
    pause = tonumber(args[3]) / 1000
    unpaced_init({ args[1], args[2] })
end

function delay()
    -- wrk takes whole milliseconds. Rounding up or down at random keeps the mean right.
    return floor(pause * (0.5 + random()) + random())
end
