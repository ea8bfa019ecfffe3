#!/bin/sh
# Makes one script of phone.js and the packages of package-lock.json, and prints its path: setup.sh [FOLDER], default
# browser in the target folder. Needs node and npm. Does nothing when it is up to date.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-${CARGO_TARGET_DIR:-$here/../../target}/browser}
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
if ! cmp -s "$here/package-lock.json" "$folder/package-lock.json" || ! cmp -s "$here/phone.js" "$folder/phone.js"; then
    cp "$here/package.json" "$folder/package.json"
    (cd "$folder" && cp "$here/package-lock.json" . && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    # Copied last: an interrupted run is not up to date.
    rm -f "$folder/phone.js"
    cp "$here/phone.js" "$folder/source.js"
    (cd "$folder" && node_modules/.bin/esbuild source.js --bundle --format=esm --outfile=bundle.js --log-level=warning >&2)
    cp "$here/phone.js" "$folder/phone.js"
fi
echo "$(cd "$folder" && pwd)/bundle.js"
