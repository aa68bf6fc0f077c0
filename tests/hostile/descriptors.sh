# Descriptors until there are no more.
for ((i = 10; i < 100000; i++)); do eval "exec $i</dev/null"; done
