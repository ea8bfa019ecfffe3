#!/usr/bin/env bash
# An IVR with nothing but curl and jq: calls a number, asks for a key, and says what was chosen.
#
#   CARILLON=http://127.0.0.1:8080 TOKEN=… examples/ivr.sh TRUNK NUMBER
#
# Prints one line, "sales", "support" or "nothing", and exits 0 if the call was answered.
set -euo pipefail
carillon=${CARILLON:-http://127.0.0.1:8080}
trunk=$1
number=$2

api() { # METHOD PATH [BODY]
    curl --silent --show-error --fail-with-body --request "$1" "$carillon$2" \
        --header "Authorization: Bearer $TOKEN" --header 'Content-Type: application/json' ${3:+--data "$3"}
}

# The flow is stored once and named by every call. A tone stands for "press 1 for sales, 2 for support".
api PUT /v1/flows/example-ivr '{
    "start": "ask", "steps": {
        "ask":     { "verb": "gather", "play": {"tone": "ringback", "loop": 0}, "max": 1, "timeout_ms": 5000, "retries": 1,
                     "on": {"1": "sales", "2": "support"}, "next": "nothing" },
        "sales":   { "verb": "set", "variables": {"chosen": "sales"}, "next": "bye" },
        "support": { "verb": "set", "variables": {"chosen": "support"}, "next": "bye" },
        "nothing": { "verb": "set", "variables": {"chosen": "nothing"}, "next": "bye" },
        "bye":     { "verb": "hangup" } } }' >/dev/null

call=$(api POST /v1/calls "$(jq --null-input --arg to "$number" --arg trunk "$trunk" \
    '{$to, $trunk, flow: "example-ivr", timeout_s: 30}')" | jq --raw-output .id)

# The stream of a call's events ends with the call; its last event is the whole call.
ended=$(curl --silent --no-buffer "$carillon/v1/calls/$call/events?types=call.ended" --header "Authorization: Bearer $TOKEN" \
    --header 'Accept: text/event-stream' | sed --quiet 's/^data: //p' || true)
# It may have ended before the stream began.
[ -n "$ended" ] || ended=$(api GET "/v1/calls/$call" | jq --compact-output '{data: .}')

jq --raw-output '.data.variables.chosen // "nothing"' <<<"$ended"
[ "$(jq --raw-output .data.disposition <<<"$ended")" = answered ]
