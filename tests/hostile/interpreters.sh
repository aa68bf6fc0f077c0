# A script whose interpreter is itself, and two that are one another's.
printf '#!/tmp/a\n' > /tmp/a; printf '#!/tmp/c\n' > /tmp/b; printf '#!/tmp/b\n' > /tmp/c
chmod +x /tmp/a /tmp/b /tmp/c
/tmp/a 2>/dev/null; x=$?
/tmp/b 2>/dev/null; y=$?
[ $x -ne 0 ] && [ $y -ne 0 ] && echo refused
