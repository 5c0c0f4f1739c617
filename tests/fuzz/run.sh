#!/usr/bin/env bash
# Fuzzes each target for a minute, or for FUZZ_SECONDS, from what is committed and what earlier runs found on this machine.
# What breaks is left in target/fuzz/found: it goes into tests/fuzz/corpus, and a test gets its name.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=$PWD/target/tools
[[ -x $tools/bin/cargo-fuzz ]] || cargo install cargo-fuzz --version 0.13.2 --locked --root "$tools"
# To count what was covered is an unstable option of the compiler. There is nothing unsafe here for a sanitizer to look at.
export PATH=$tools/bin:$PATH RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$PWD/target/fuzz
mkdir -p target/fuzz/found
for target in component manifest values policy; do
  corpus=target/fuzz/corpus/$target
  mkdir -p "$corpus"
  words=()
  [[ ! -f tests/fuzz/words/$target ]] || words=("-dict=tests/fuzz/words/$target")
  cargo fuzz run --dev --sanitizer none --fuzz-dir tests/fuzz "$target" "$corpus" "tests/fuzz/corpus/$target" -- \
    "-max_total_time=${FUZZ_SECONDS:-60}" -max_len=2048 -timeout=20 -print_final_stats=1 -artifact_prefix=target/fuzz/found/ "${words[@]}"
done
