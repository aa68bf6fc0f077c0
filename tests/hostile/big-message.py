# An error whose message is larger than what may be printed.
raise ValueError('x' * (1 << 22))
