# A file that takes all there is.
with open('/tmp/full', 'wb') as f:
    while True:
        f.write(bytes(1 << 16))
