truncate -s 8E /tmp/x; dd if=/dev/zero of=/tmp/y bs=1 count=1 seek=9223372036854775806 2>/dev/null
truncate -s 1T /tmp/z && cat /tmp/z > /dev/null
