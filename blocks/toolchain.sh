#!/usr/bin/env bash
# Makes sure that components can be built on this machine, and prints the environment for it.
#
#   eval "$(blocks/toolchain.sh [rustup|distribution|auto])"
#   cargo-component component build --release --target wasm32-unknown-unknown
#
#   rustup         the toolchain on PATH, with the two wasm targets; added with rustup where they are missing
#   distribution   Debian's rustc-web and lld, unpacked into a private folder: no root, nothing is installed
#   auto           the first of the two that works, rustup before distribution
#
# Standard output holds export lines and nothing else. Exit status: 0 ready, 3 this way does not exist on this machine,
# 1 it exists and failed. PLINTH_TOOLS is the folder for what is fetched (target/tools below the repository's root).
# To fetch a newer toolchain, remove its folder there.

set -euo pipefail

TARGETS="wasm32-unknown-unknown wasm32-wasip1" # cargo-component looks for the second and never uses it
CARGO_COMPONENT=0.21.1

cd "$(dirname "${BASH_SOURCE[0]}")/.." # the repository's root, so that its rust-toolchain.toml counts
root=$PWD
tools=${PLINTH_TOOLS:-$root/target/tools}
[[ $tools == /* ]] || tools=$root/$tools
distribution=$tools/distribution

say() { printf 'toolchain: %s\n' "$*" >&2; }
fail() { say "$2"; exit "$1"; }
have() { command -v "$1" >/dev/null 2>&1; }
quote() { printf "'%s'" "${1//\'/\'\\\'\'}"; }
bounded() { if have timeout; then timeout "$@"; else shift; "$@"; fi; }

# One process at a time fetches or builds; the others wait and then find the result.
alone() {
  mkdir -p "$tools"
  exec 9>"$tools/.lock"
  have flock || return 0
  flock -n 9 || { say "waits for another process that prepares $tools"; flock 9; }
}

# --- way 1: the toolchain on PATH ------------------------------------------------------------------------------------

path_has_targets() {
  local sysroot target
  have rustc || return 1
  sysroot=$(rustc --print sysroot 2>/dev/null) || return 1
  for target in $TARGETS; do [[ -d $sysroot/lib/rustlib/$target/lib ]] || return 1; done
}

prepare_rustup() {
  path_has_targets && return
  have rustup || { say "rustup: not installed, and the rustc on PATH has no wasm targets"; return 3; }
  alone
  say "rustup: adding $TARGETS"
  # shellcheck disable=SC2086
  bounded 120 rustup target add $TARGETS >&2 9>&- || {
    say "rustup: cannot fetch the wasm targets here; reach its server, set RUSTUP_DIST_SERVER to a mirror, or use the way 'distribution'"
    return 3
  }
  path_has_targets || { say "rustup: rustc on PATH is not rustup's; put rustup's folder first on PATH"; return 1; }
}

export_rustup() { echo "export PLINTH_TOOLCHAIN=rustup"; }

# --- way 2: the distribution's packages ------------------------------------------------------------------------------

candidate() { LC_ALL=C apt-cache policy "$1" 2>/dev/null | awk '$1 == "Candidate:" && $2 != "(none)" { print $2 }'; }
depends_on() { apt-cache show --no-all-versions "$1" 2>/dev/null | awk '/^Depends:/' | grep -oE "$2" | head -n 1; }

# Everything that the two programs load and that this machine has not installed.
missing_libraries() {
  LC_ALL=C apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances "$@" |
    grep -E '^[a-z0-9]' | sort -u | while read -r name; do
      [[ " $* " == *" $name "* ]] && continue
      [[ $(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || echo "$name"
    done
}

find_packages() {
  local version library llvm
  version=$(candidate rustc-web)
  [[ -n $version ]] || return 1
  [[ $(candidate rust-web-src) == "$version" && $(candidate libstd-rust-web-dev) == "$version" ]] || return 1
  library=$(depends_on libstd-rust-web-dev 'libstd-rust-web-[0-9.]+[0-9]') || return 1
  llvm=$(depends_on "$library" 'libllvm[0-9]+') || return 1
  packages="rustc-web rust-web-src libstd-rust-web-dev $library lld-${llvm#libllvm} $llvm"
  # shellcheck disable=SC2086
  packages="$packages $(missing_libraries "$library" "lld-${llvm#libllvm}" "$llvm" | tr '\n' ' ')"
}

fetch_packages() {
  local options=(-q -o Acquire::Retries=2 -o Acquire::http::Timeout=30)
  [[ $(id -u) -ne 0 ]] || options+=(-o APT::Sandbox::User=root)
  # shellcheck disable=SC2086
  (cd "$1" && bounded 900 apt-get "${options[@]}" download $packages >&2 9>&-)
}

update_lists() {
  if [[ $(id -u) -eq 0 ]]; then
    say "distribution: apt-get update"
    bounded 300 apt-get -q update >&2 9>&- || { say "distribution: 'apt-get update' failed; see above"; return 1; }
  else
    say "distribution: apt's package lists are empty or old; run 'apt-get update' as root"
    return 1
  fi
}

prepare_distribution() {
  local tool stage package multiarch
  [[ -x $distribution/bin/rustc ]] && return
  for tool in apt-get apt-cache dpkg-deb dpkg-query tar; do
    have "$tool" || { say "distribution: no $tool, this way needs Debian or one of its descendants"; return 3; }
  done
  alone
  [[ -x $distribution/bin/rustc ]] && return
  rm -rf "$tools"/.unpack.* # of processes that were killed
  stage=$(mktemp -d "$tools/.unpack.XXXXXX")
  chmod 755 "$stage"
  mkdir "$stage/debs" "$stage/bin"

  find_packages || { update_lists || return 3; find_packages; } || {
    say "distribution: its packages have no complete rustc-web with sources; install rustup instead"
    return 3
  }
  say "distribution: fetching $packages"
  fetch_packages "$stage/debs" || { update_lists || return 1; find_packages && fetch_packages "$stage/debs"; } || {
    say "distribution: 'apt-get download' failed; see above"
    return 1
  }

  say "distribution: unpacking"
  for package in "$stage"/debs/*.deb; do
    case ${package##*/} in
      rust-web-src_*) # of 45,000 files only the standard library's
        dpkg-deb --fsys-tarfile "$package" |
          tar -x -C "$stage" --no-same-owner --wildcards './usr/lib/rustlib/src/*' './usr/src/rustc-*/library/*' ;;
      *) dpkg-deb -x "$package" "$stage" ;;
    esac
  done
  rm -rf "$stage/debs" "$stage"/usr/share/doc/*/changelog*
  mkdir -p "$stage/usr/lib/rustlib/wasm32-wasip1"
  (cd "$stage/bin" && ln -s ../usr/lib/llvm-*/bin/lld rust-lld)
  multiarch=$(cd "$stage/usr/lib" && echo *-linux-gnu*)
  cat >"$stage/bin/rustc" <<WRAPPER
#!/bin/sh
top=\${0%/*}/..
export LD_LIBRARY_PATH="\$top/usr/lib:\$top/usr/lib/$multiarch\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
exec "\$top/usr/bin/rustc" "\$@"
WRAPPER
  chmod 755 "$stage/bin/rustc"
  "$stage/bin/rustc" --version >&2 || { say "distribution: the unpacked rustc does not start; see above"; return 1; }

  rm -rf "$distribution"
  mv "$stage" "$distribution"
}

export_distribution() {
  local cargo # itself, not rustup's proxy, which would put its own rustc before this one
  cargo=$(rustup which cargo 2>/dev/null) || cargo=$(command -v cargo)
  echo "export PLINTH_TOOLCHAIN=distribution"
  echo "export RUSTC=$(quote "$distribution/bin/rustc")"
  echo "export CARGO=$(quote "$cargo")"
  echo "export RUSTC_BOOTSTRAP=1"
  echo "export CARGO_UNSTABLE_BUILD_STD=std,panic_abort"
  echo "export PATH=$(quote "$distribution/bin"):\"\$PATH\""
  [[ -z ${RUSTUP_TOOLCHAIN:-} ]] || echo "unset RUSTUP_TOOLCHAIN"
}

# --- what both ways need ---------------------------------------------------------------------------------------------

is_cargo_component() { [[ $("$1" --version 2>/dev/null) == *" $CARGO_COMPONENT" ]]; }

prepare_cargo_component() {
  component_path=
  is_cargo_component cargo-component && return
  component_path=$tools/bin
  is_cargo_component "$component_path/cargo-component" && return
  alone
  is_cargo_component "$component_path/cargo-component" && return
  say "building cargo-component $CARGO_COMPONENT: a few minutes, once"
  # Its own build folder, so that an interrupted build continues; little optimisation, since it runs for milliseconds.
  # Through rustup's proxy: it fixes the toolchain, where some of the crates carry a rust-toolchain file of their own.
  env -u CARGO -u RUSTC -u RUSTC_BOOTSTRAP -u CARGO_UNSTABLE_BUILD_STD -u CARGO_BUILD_TARGET \
    CARGO_TARGET_DIR="$tools/.cargo-component" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
    cargo install cargo-component --version "$CARGO_COMPONENT" --locked --root "$tools" >&2 9>&- ||
    fail 1 "cargo-component $CARGO_COMPONENT did not build; see above, or put one on PATH"
  rm -rf "$tools/.cargo-component"
}

# In a subshell of its own and outside of any condition, since bash ignores -e within one.
attempt() {
  set +e
  (set -e && "prepare_$1")
  status=$?
  set -e
  way=$1
}

case ${1:-auto} in
  rustup | distribution)
    attempt "$1"
    [[ $status -eq 0 ]] || exit "$status"
    ;;
  auto)
    if path_has_targets || [[ ! -x $distribution/bin/rustc ]]; then attempt rustup; else status=3; fi
    [[ $status -eq 0 ]] || attempt distribution
    [[ $status -eq 0 ]] ||
      fail 1 "components cannot be built here: run 'rustup target add $TARGETS', or use a Debian with rustc-web; reasons above"
    ;;
  *) fail 2 "usage: toolchain.sh [rustup|distribution|auto]" ;;
esac

have cargo || fail 1 "no cargo; install rustup, or 'apt-get install cargo-web'"
have cc || say "no C compiler: 'apt-get install gcc libc6-dev', build scripts are linked with it"
prepare_cargo_component
"export_$way"
[[ -z $component_path ]] || echo "export PATH=$(quote "$component_path"):\"\$PATH\""
