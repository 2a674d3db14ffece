-- For wrk: as distinct-clients.lua, but every connection waits between an answer and its next request, so that all
-- together ask for less than the server could give.
--
-- Arguments: FIRST CLIENTS MICROSECONDS. A pause is between half and one and a half times as long, at random: at
-- equal pauses all connections would soon ask at the same moments.

dofile("benches/wrk/distinct-clients.lua")

local floor, random = math.floor, math.random
local unpaced_init = init
local pause

function init(args)
    pause = tonumber(args[3]) / 1000
    unpaced_init({ args[1], args[2] })
end

function delay()
    -- wrk takes whole milliseconds: rounded up or down at random, the mean stays right.
    return floor(pause * (0.5 + random()) + random())
end
