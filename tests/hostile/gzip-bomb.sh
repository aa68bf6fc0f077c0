# Data that grows a thousand times, into a file.
head -c 8M /dev/zero | gzip -9 > /tmp/x.gz
while :; do gzip -dc /tmp/x.gz >> /tmp/x; done
