# Starts a program for each file there is, again and again.
while :; do find / -type f -exec cat {} + > /dev/null 2>&1; done
