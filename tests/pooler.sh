#!/usr/bin/env bash
# Makes sure that the tests have a pgbouncer, and prints its path: the one on PATH, or the distribution's package, unpacked into
# a private folder: no root, nothing is installed. Exit status: 0 ready, 3 there is none to be had here, with the reason in
# target/tools/pgbouncer/absent, so that the tests can say why they were skipped.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$PWD/target/tools/pgbouncer
mkdir -p "$folder"

say() { printf 'pooler: %s\n' "$*" >&2; }
absent() { say "$*"; printf '%s\n' "$*" >"$folder/absent"; exit 3; }

for found in "$(command -v pgbouncer || true)" /usr/sbin/pgbouncer "$folder/run"; do
  [[ -n $found && -x $found ]] || continue
  rm -f "$folder/absent"
  echo "$found"
  exit 0
done

for tool in apt-get apt-cache dpkg-deb dpkg-query; do
  command -v "$tool" >/dev/null || absent "no pgbouncer on PATH, and no $tool to fetch the distribution's"
done

packages() {
  LC_ALL=C apt-cache policy pgbouncer | grep 'Candidate: [0-9]' >/dev/null || return 1
  echo pgbouncer
  for library in libc-ares2 libevent-2.1-7 libevent-2.1-7t64; do
    LC_ALL=C apt-cache policy "$library" | grep 'Candidate: [0-9]' >/dev/null || continue
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$library" 2>/dev/null) == installed ]] || echo "$library"
  done
}

fetch() {
  local options=(-q -o Acquire::Retries=2 -o Acquire::http::Timeout=30)
  [[ $(id -u) -ne 0 ]] || options+=(-o APT::Sandbox::User=root)
  local names
  names=$(packages) || return 1
  # shellcheck disable=SC2086
  (cd "$1" && timeout 300 apt-get "${options[@]}" download $names >&2)
}

stage=$(mktemp -d "$folder/.unpack.XXXXXX")
trap 'rm -rf "$stage"' EXIT
fetch "$stage" || {
  [[ $(id -u) -eq 0 ]] || absent "apt's package lists are empty or old: run 'apt-get update' as root"
  say "apt-get update"
  timeout 300 apt-get -q update >&2 && fetch "$stage" || absent "pgbouncer cannot be fetched from the distribution"
}
for package in "$stage"/*.deb; do dpkg-deb -x "$package" "$stage/root"; done
rm -rf "$folder/root"
mv "$stage/root" "$folder/root"
cat >"$folder/run" <<'WRAPPER'
#!/bin/sh
top=${0%/*}/root
for libraries in "$top"/usr/lib/*-linux-gnu*; do
  LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
done
export LD_LIBRARY_PATH
exec "$top/usr/sbin/pgbouncer" "$@"
WRAPPER
chmod 755 "$folder/run"
"$folder/run" --version >&2 || absent "the unpacked pgbouncer does not start"
rm -f "$folder/absent"
echo "$folder/run"
