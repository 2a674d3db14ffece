# Nodes on one machine.

set output folder.'/nodes.svg'
set multiplot layout 1,2
set xlabel 'nodes, on the same machine'
set format x '%g'
set xtics (1, 2, 3, 4, 6, 8, 12, 16)
set ylabel 'redirects per second'
set title 'All nodes together'
plot folder.'/nodes.csv' using 1:2 skip 1 title 'limit in Redis'
set ylabel 'milliseconds, 64 at a time for each node'
set format y '%g'
set title 'Latency at the worst node'
plot folder.'/nodes.csv' using 1:3 skip 1 title 'half of the redirects', \
     folder.'/nodes.csv' using 1:4 skip 1 title '99 % of them'
