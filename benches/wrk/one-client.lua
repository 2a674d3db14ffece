-- For wrk: every request is the same and comes from one client, wrk itself.

done = dofile("benches/wrk/clients.lua").done
