-- For wrk: every request is the same, from the one client that wrk is.

done = dofile("benches/wrk/clients.lua").done
