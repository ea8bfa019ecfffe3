#!/bin/sh
# Makes the Python environment of receiver.py and of schemathesis and prints its interpreter: setup.sh [FOLDER],
# default api-venv in the target folder.
# Needs the Debian package python3-venv. Does nothing when it is up to date.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-${CARGO_TARGET_DIR:-$here/../../target}/api-venv}
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
echo "$(cd "$venv" && pwd)/bin/python"
