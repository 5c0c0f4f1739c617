#!/usr/bin/env bash
# Builds every component of a workspace and lays each down as <out>/<id>.wasm.
#
#   blocks/build.sh <workspace> <out> <package prefix to strip> [options for cargo, such as --locked or -p NAME]
#
# A file is written only when its content changes, so its time tells when; a file whose crate is gone is removed, unless
# -p narrows the build. PLINTH_TOOLCHAIN=rustup|distribution|auto chooses the way (see toolchain.sh); each way has a
# target folder of its own, since a change of compiler would rebuild everything.

set -euo pipefail

[[ $# -ge 3 ]] || { echo "usage: build.sh <workspace> <out> <package prefix to strip> [options for cargo]" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
workspace=$(cd "$1" && pwd)
mkdir -p "$2"
out=$(cd "$2" && pwd)
prefix=$3
shift 3

selection=(--workspace)
for option in "$@"; do
  case $option in -p | -p* | --package | --package=*) selection=() ;; esac
done

environment=$("$here/toolchain.sh" "${PLINTH_TOOLCHAIN:-auto}")
eval "$environment"
root=$(dirname "$here")
target=$root/target/wasm
[[ $PLINTH_TOOLCHAIN == rustup ]] || target=$target-$PLINTH_TOOLCHAIN
export CARGO_TARGET_DIR=$target

# Panic messages carry paths: a component should not tell, nor its digest depend on, where its builder keeps things.
flags=${CARGO_ENCODED_RUSTFLAGS:-${RUSTFLAGS:-}}
[[ -n ${CARGO_ENCODED_RUSTFLAGS:-} ]] || flags=${flags// /$'\x1f'}
flags+=${flags:+$'\x1f'}--remap-path-scope=object # and not in the compiler's own messages
remap() { flags+=$'\x1f'--remap-path-prefix=$1=$2; }
remap "$root" /plinth
remap "${CARGO_HOME:-$HOME/.cargo}/registry/src" /crates
[[ $PLINTH_TOOLCHAIN == rustup ]] || remap "$("$RUSTC" --print sysroot)/lib/rustlib/src/rust" /rustc
export CARGO_ENCODED_RUSTFLAGS=$flags

# cargo-component replaces cargo's output after cargo has released its own lock, so two builds need one of ours.
mkdir -p "$target"
exec 9>"$target/.build.lock"
if command -v flock >/dev/null; then flock 9; fi

cd "$workspace"
messages=$(cargo-component component build --release --target wasm32-unknown-unknown \
  --message-format json-render-diagnostics ${selection[@]+"${selection[@]}"} "$@" 9>&-)
modules=$(grep '"reason":"compiler-artifact"' <<<"$messages" | grep -o '"[^"]*\.wasm"' | tr -d '"' | sort -u || true)

is_component() { [[ $(head -c 8 "$1" | od -An -tx1 | tr -d ' \n') == 0061736d0d000100 ]]; }

ids=" "
total=0 changed=0 removed=0
for module in $modules; do
  id=${module##*/}
  id=${id%.wasm}
  id=${id#"$prefix"}
  ids+="$id "
  total=$((total + 1))
  cmp -s "$module" "$out/$id.wasm" && continue
  is_component "$module" || {
    echo "build.sh: $id is a core module, not a component: its crate exports no world" >&2
    exit 1
  }
  cp "$module" "$out/.$id.new"
  chmod 644 "$out/.$id.new" # cargo-component's files are readable to their owner alone
  mv "$out/.$id.new" "$out/$id.wasm"
  changed=$((changed + 1))
  printf '%-60s %9d bytes\n' "$id" "$(wc -c <"$out/$id.wasm")"
done

if [[ ${#selection[@]} -gt 0 ]]; then
  for file in "$out"/*.wasm; do
    [[ -e $file ]] || continue
    id=${file##*/}
    [[ $ids == *" ${id%.wasm} "* ]] && continue
    rm "$file"
    removed=$((removed + 1))
    printf '%-60s   removed, its crate is gone\n' "${id%.wasm}"
  done
fi

printf '%d components, %d changed, %d removed: %s\n' "$total" "$changed" "$removed" "$out"
