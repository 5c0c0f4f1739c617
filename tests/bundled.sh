#!/usr/bin/env bash
# The command with PostgreSQL inside, in an environment that has nothing else: a folder with the command, the C library, a shell and two
# users is all that it sees.
#
#   tests/bundled.sh <plinth built with bundled-postgres> <folder with the service's components>
#
# Needs root, for chroot; anybody else sees the same with every other server hidden from the search.

set -euo pipefail

plinth=$(readlink -f "$1")
components=$(cd "$2" && pwd)
root=$(mktemp -d /tmp/plinth-nothing-XXXXXX)
trap 'rm -rf "$root"' EXIT
fail() { echo "bundled.sh: $*" >&2; exit 1; }

mkdir -p "$root"/{bin,etc,tmp,root,dev/shm,blocks,var/cache}
if [[ $(id -u) -ne 0 ]] || ! mknod -m 666 "$root/dev/null" c 1 3 || ! mknod -m 666 "$root/dev/urandom" c 1 9; then
  echo "no right to make an environment of its own: the servers of this machine are hidden by PLINTH_PG_BIN=bundled instead"
  PLINTH_PG_BIN=bundled "$plinth" run --embedded --data "$root/data" --blocks "$components" --no-cache
  exit
fi

chmod 755 "$root"
chmod 1777 "$root/tmp" "$root/dev/shm"
cp "$plinth" "$root/bin/plinth"
for program in sh sleep; do cp "$(command -v "$program")" "$root/bin/$program"; done
# The libraries of the three, and the one that reads /etc/passwd. No zlib: a server that wants one brings it.
libraries=$(ldd "$root"/bin/* | grep -oE '/[^ ]+\.so[^ ]*' | sort -u)
for library in $libraries /lib/*-linux-gnu/libnss_files.so.2 /lib64/ld-linux-x86-64.so.2 /lib/*-linux-gnu/lib{pthread,rt,dl,m}.so.*; do
  [[ -e $library ]] && mkdir -p "$root$(dirname "$library")" && cp -L "$library" "$root$library"
done
printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/tmp:/bin/sh\n' >"$root/etc/passwd"
cp "$components"/*.wasm "$root/blocks/"
[[ -z $(find "$root" -name 'postgres*' -o -name 'initdb*') ]] || fail "there is a server in the environment that was to have none"

run() { env -i PATH=/bin HOME=/root NO_COLOR=1 "$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)" "$root" /bin/plinth "$@"; }
first=$(run run --embedded --data /root/data --blocks /blocks --no-cache --format json) || fail "the first boot failed"
grep -q '"state": "complete"' <<<"$first" || fail "the first boot is not complete: $first"
run status --embedded --data /root/data --blocks /blocks | grep -q applied || fail "the ledger does not know what was applied"
mkdir "$root/fixtures"
echo 'create table test_run_log (id int primary key)' >"$root/fixtures/1.sql"
run test /blocks/0029_actual_cost_cents.wasm --fixtures /fixtures || fail "plinth test failed"
echo "a boot of $(find "$root/blocks" -name '*.wasm' | wc -l) blocks on the carried PostgreSQL, with nothing else there"
