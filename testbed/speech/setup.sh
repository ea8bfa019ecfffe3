#!/bin/sh
# Makes the Python environment of spell.py and prints its interpreter: setup.sh [FOLDER],
# default speech-venv in the target folder.
# Building PyICU needs g++, pkg-config and the Debian packages python3-venv, python3-dev and libicu-dev. Does nothing when it is up to date.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${1:-${CARGO_TARGET_DIR:-$here/../../target}/speech-venv}
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
echo "$(cd "$venv" && pwd)/bin/python"
