#!/bin/sh
# A bad call and the way back, over the REST API, with curl.
#
#     sandglass serve                                                  # in another terminal
#     export SANDGLASS_TOKEN=$(cat ~/.local/share/sandglass/token)
#     sh examples/undo.sh
#
# SANDGLASS_SERVER names another service than http://127.0.0.1:7777.
set -eu

server=${SANDGLASS_SERVER:-http://127.0.0.1:7777}
name=undo-$$
at=$server/v1/sandboxes

# Asks the service; a refusal shows its reason and ends the script.
ask() {
    curl -sS --fail-with-body -H "Authorization: Bearer ${SANDGLASS_TOKEN:-}" -H 'Content-Type: application/json' "$@"
}

# Gives a field of a flat answer: enough for ids and numbers.
field() {
    sed -n "s/.*\"$1\":\"\{0,1\}\([^\",}]*\).*/\1/p" | head -n 1
}

echo '1. a sandbox, with a file put into it'
ask -d "{\"name\": \"$name\"}" "$at" >/dev/null
trap 'ask -X DELETE "$at/$name"' EXIT
ask -X PUT -H 'Content-Type: application/octet-stream' --data-binary 'all that we have' "$at/$name/files/workspace/data.txt" >/dev/null
before=$(ask "$at/$name" | field state)

echo '2. Python reads it'
ask -d '{"tool": "python", "arguments": {"code": "print(open(\"data.txt\").read(), end=\"\")"}}' "$at/$name/calls" | field stdout

echo '3. an agent cleans up'
ask -d '{"tool": "python", "arguments": {"code": "import shutil; shutil.rmtree(\"/workspace\"); print(\"all cleaned up\", end=\"\")"}}' \
    "$at/$name/calls" | field stdout

echo '4. the diff'
ask "$at/$name/diff"
echo

echo '5. undo'
after=$(ask -d '{}' "$at/$name/undo" | field after)

echo '6. the proof'
[ "$(ask "$at/$name" | field state)" = "$before" ] || { echo 'the state is another one'; exit 1; }
[ "$(ask "$at/$name/files/workspace/data.txt")" = 'all that we have' ] || { echo 'the file is another one'; exit 1; }
echo "state $before is the head again: $after"
