#!/usr/bin/env bash
# Builds the component and the benchmark, and measures. Options go to the benchmark: see src/main.rs.
#
#   tests/bench/run.sh [--json FILE] [--rounds N] [--sizes 10,100,1000] [--bulk ROWS]

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/blocks/build.sh" "$root/tests/bench/guest" "$root/target/bench-guest" bench_ --locked
"$root/blocks/build.sh" "$root/tests/bench/bulk" "$root/target/bench-bulk" "" --locked
CARGO_TARGET_DIR=$root/target/bench exec "${CARGO:-cargo}" run --release --locked --manifest-path "$root/tests/bench/Cargo.toml" -- "$@"
