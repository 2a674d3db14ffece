# Limits.

set output folder.'/limits.svg'
set multiplot layout 1,2
set xlabel 'limit: requests in a window'
set ylabel 'requests per second'
set title 'Requests of clients whose logs are full'
plot folder.'/limits.csv' using 1:2 skip 1 title 'one node'
set ylabel 'bytes; microseconds'
set title 'In Redis'
plot folder.'/limits.csv' using 1:5 skip 1 title 'bytes per client', \
     folder.'/limits.csv' using 1:6 skip 1 title 'microseconds per transaction'
