# Programs that wait for one another.
coproc A { cat; }
cat <&"${A[0]}"
