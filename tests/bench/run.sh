#!/usr/bin/env bash
# Builds components, peers and the benchmark, and measures. Options go to the benchmark: see src/main.rs.
#
#   tests/bench/run.sh [--only-part first-apply,block] [--json FILE] [--readme] [--rounds N] …

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
"$root/blocks/build.sh" "$root/tests/bench/guests" "$root/target/bench-guests" bench_ --locked
"$root/blocks/build.sh" "$root/tests/bench/bulk" "$root/target/bench-bulk" "" --locked

# Peers in other languages, from their packages. Without them the benchmark says so and goes on.
peers=$root/target/bench-peers
mkdir -p "$peers"
if [[ ! -x $peers/bin/python ]]; then
  { python3 -m venv "$peers" && "$peers/bin/pip" install --quiet 'psycopg[binary]==3.3.*'; } >"$peers/python.log" 2>&1 ||
    { rm -rf "$peers/bin"; echo "psycopg cannot be had: see $peers/python.log" >&2; }
fi
if [[ ! -d $peers/node_modules/postgres ]]; then
  npm install --silent --prefix "$peers" postgres@3 >"$peers/node.log" 2>&1 || echo "postgres.js cannot be had: see $peers/node.log" >&2
fi

CARGO_TARGET_DIR=$root/target/bench exec "${CARGO:-cargo}" run --release --locked --manifest-path "$root/tests/bench/Cargo.toml" -- "$@"
