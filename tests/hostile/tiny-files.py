# Ten million files of one byte.
for n in range(10_000_000):
    with open(f'/tmp/{n}', 'w') as f:
        f.write('x')
