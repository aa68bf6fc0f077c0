#!/bin/bash
# Reads what its arguments are numbers of.
for fd; do
    if IFS= read -r -d '' -u "$fd" text 2>/dev/null || [[ -v text ]]; then
        echo "$fd: ${text%$'\n'}"
    fi
done
