# Leaves programs behind that nobody waits for.
for i in 1 2 3 4 5 6 7 8; do (trap '' TERM HUP INT; while :; do :; done) & done
exit 0
