#!/usr/bin/env bash
# Runs each fuzz target for so many seconds, by the compiler of the project and without cargo-fuzz: these are the flags that
# it would set, but for the address sanitizer, which needs a nightly one and has little to find in crates without unsafe code.
set -euo pipefail
seconds=${1:-60}
cd "$(dirname "$0")/../fuzz"
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cdebug-assertions -Ccodegen-units=1 -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
RUSTFLAGS=$(tr '\n' ' ' <<<"$RUSTFLAGS")
# `--target` keeps the flags from build scripts and macros.
cargo build --release --quiet --target "$host"
for source in fuzz_targets/*.rs; do
  name=$(basename "$source" .rs)
  mkdir -p "corpus/$name" "artifacts/$name"
  seeds=()
  if [ "$name" = sip_message ]; then seeds=(../sip/core/tests/data/*/); fi
  echo "$name, for $seconds s:"
  "${CARGO_TARGET_DIR:-target}/$host/release/$name" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=2048 -verbosity=0 \
    -print_final_stats=1 -artifact_prefix="artifacts/$name/" "corpus/$name" "${seeds[@]}"
done
