# Active clients.

set output folder.'/clients.svg'
set multiplot layout 1,2
set xlabel 'active clients'
set ylabel 'redirects per second'
set title 'Redirects'
plot folder.'/clients-redis.csv' using 1:2 skip 1 title 'logs in Redis', \
     folder.'/clients-in-process.csv' using 1:2 skip 1 title 'logs in process'
set ylabel '10^6 bytes'
set title 'Memory'
plot folder.'/clients-redis.csv' using 1:6 skip 1 title 'used by Redis', \
     folder.'/clients-in-process.csv' using 1:6 skip 1 title 'resident, of the node'
