# Kills whatever it can name; there is only itself.
for pid in 0 2 3 4 5 100 1000 4194304; do kill -0 $pid 2>/dev/null && [ $pid -gt 3 ] && echo found $pid; done
kill -STOP $$ 2>/dev/null
kill -9 -1 2>/dev/null
kill -9 $$
