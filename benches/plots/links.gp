# Links in the database.

set output folder.'/links.svg'
set multiplot layout 1,2
set xlabel 'links in the table'
set ylabel 'requests per second'
set title 'Redirects that are looked up, and new links'
plot folder.'/links-postgres.csv' using 1:2 skip 1 title 'Postgres, look-up', \
     folder.'/links-sqlite.csv' using 1:2 skip 1 title 'SQLite, look-up', \
     folder.'/links-postgres.csv' using 1:5 skip 1 title 'Postgres, new link', \
     folder.'/links-sqlite.csv' using 1:5 skip 1 title 'SQLite, new link'
set ylabel 'milliseconds, 64 at a time'
set format y '%g'
set title 'Half of the requests take at most'
plot folder.'/links-postgres.csv' using 1:3 skip 1 title 'Postgres, look-up', \
     folder.'/links-sqlite.csv' using 1:3 skip 1 title 'SQLite, look-up', \
     folder.'/links-postgres.csv' using 1:6 skip 1 title 'Postgres, new link', \
     folder.'/links-sqlite.csv' using 1:6 skip 1 title 'SQLite, new link'
