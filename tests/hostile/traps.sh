# Handles each signal by sending it again.
trap 'kill -TERM $$' TERM
trap 'while :; do :; done' EXIT
kill -TERM $$
while :; do kill -USR1 $$ 2>/dev/null; done
