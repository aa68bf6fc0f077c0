#!/bin/sh
# Prints what its arguments are in the environment, `None` for what is not there.
for name; do
    printenv "$name" || echo None
done
