# An expression that takes twice as long for each letter.
import re
re.match(r'(a+)+$', 'a' * 64 + 'b')
