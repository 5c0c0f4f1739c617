#!/usr/bin/env bash
# Builds the blocks that are not in Rust into target/languages, a component without a manifest each. Where there is no C compiler
# to be had, target/languages/absent says why.

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
out=$root/target/languages
mkdir -p "$out"
rm -f "$out/absent"

zig=$("$here/compiler.sh" 2> >(tee "$out/said" >&2)) || {
  [[ $? -eq 3 ]] || exit 1
  tail -n 1 "$out/said" >"$out/absent"
  rm -f "$out/c.wasm"
  exit 0
}

CARGO_TARGET_DIR=$out/target "${CARGO:-cargo}" build --quiet --locked --manifest-path "$here/Cargo.toml"
tool=$out/target/debug/plinth-languages
stage=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$stage"' EXIT
export ZIG_GLOBAL_CACHE_DIR=$root/target/tools/zig/cache ZIG_LOCAL_CACHE_DIR=$root/target/tools/zig/cache

"$tool" bindings "$root/wit" rule "$stage"
"$zig" cc -target wasm32-wasi -mexec-model=reactor -Os -Wall -Wextra -I "$stage" -o "$stage/core.wasm" \
  "$here/c/block.c" "$stage/rule.c" "$stage/rule_component_type.o"
"$tool" component "$stage/core.wasm" "$stage/c.wasm"
mv "$stage/c.wasm" "$out/c.wasm"
