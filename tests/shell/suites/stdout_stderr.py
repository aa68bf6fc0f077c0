#!/bin/sh
# Writes a line to each stream, and ends with its third argument.
echo "${1-STDOUT}"
echo "${2-STDERR}" >&2
exit "${3-0}"
