#!/usr/bin/env bash
# Both ways of blocks/toolchain.sh make a component, and one that imports nothing but plinth:block.
#
#   tests/toolchain.sh [<workspace> [<package>]]
#
# A way that this machine does not have is skipped, with the reason; at least one has to pass.

set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
workspace=${1:-$here/../blocks}
package=${2:-block_0066_reconcile_eligibility_from_cost}
plinth=$here/../target/debug/plinth
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Says what is wrong with the component, or nothing.
fault() {
  local header names
  header=$(head -c 8 "$1" | od -An -tx1 | tr -d ' \n')
  [[ $header == 0061736d0d000100 ]] || { echo "its first bytes are $header, not a component's"; return; }
  names=$(grep -aoE '[a-z][a-z0-9-]*:[a-z][a-z0-9-]*/[a-z][a-z0-9-]*' "$1" | sort -u)
  [[ $names == *plinth:block/* ]] || { echo "it imports nothing of plinth:block"; return; }
  names=$(grep -v 'plinth:block/' <<<"$names" | tr '\n' ' ')
  [[ -z $names ]] || { echo "it names ${names% }"; return; }
  ! grep -aqE 'wasi_snapshot|__wbindgen' "$1" || { echo "it imports from WASI or from a browser"; return; }
  [[ ! -x $plinth ]] || "$plinth" inspect "$1" >"$out/inspect" 2>&1 || sed 's/^/plinth inspect: /' "$out/inspect"
}

passed=0 failed=0 skipped=0
for way in rustup distribution; do
  reason=$("$here/../blocks/toolchain.sh" "$way" 2>&1 >/dev/null | tee >(cat >&2) | tail -n 1)
  status=$?
  if [[ $status -eq 3 ]]; then
    echo "skip $way: ${reason#toolchain: }"
    skipped=$((skipped + 1))
    continue
  fi
  why=
  if [[ $status -ne 0 ]]; then
    why=${reason#toolchain: }
  elif ! PLINTH_TOOLCHAIN=$way "$here/../blocks/build.sh" "$workspace" "$out/$way" "" -p "$package" >&2; then
    why="the build failed, see above"
  elif [[ ! -e $out/$way/$package.wasm ]]; then
    why="the build made no $package.wasm"
  else
    why=$(fault "$out/$way/$package.wasm")
  fi
  if [[ -z $why ]]; then
    echo "ok   $way: $package, $(wc -c <"$out/$way/$package.wasm") bytes"
    passed=$((passed + 1))
  else
    echo "FAIL $way: $why"
    failed=$((failed + 1))
  fi
done

echo "$passed passed, $failed failed, $skipped skipped"
[[ $passed -gt 0 && $failed -eq 0 ]]
