# Each sleeps while others are started.
f() { sleep 100 & f; }
f
