# Prints what would retitle a terminal, write its clipboard and turn text round; all of it is only text.
import sys
print('\x1b]52;c;aGFja2Vk\x07\x1b]0;owned\x07\x1b[2J\x1b[?1049h\u202egpj.exe\x00\x9b31m', end='')
sys.stderr.buffer.write(b'\xff\xfe\xc3\x28\x1b[6n')
