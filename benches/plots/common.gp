# gnuplot runs this before each of the other files: two charts beside each other, all axes logarithmic. `folder` holds
# the CSV files and receives the picture.

set datafile separator ','
set terminal svg size 1000,460 dynamic font 'sans-serif,12' background rgb 'white'
set logscale xy
set format '%.0s%c'
set grid
set key below
set bmargin 7
set style data linespoints
