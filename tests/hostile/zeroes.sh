cat /dev/zero | tr '\0' x | sort | wc -c
