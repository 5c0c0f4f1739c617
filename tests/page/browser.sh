#!/usr/bin/env bash
# Gets what looks at the page: a Chromium and two packages for Node. Where one cannot be had, it says so, and the tests of the page
# say that they were skipped; PLINTH_BROWSER=required makes that an error.
#
#   tests/page/browser.sh <folder for the packages>

set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
modules=$1

missing() {
  echo "page tests will be skipped: $1" >&2
  [[ ${PLINTH_BROWSER:-} != required ]] || exit 1
  exit 0
}

if ! command -v chromium >/dev/null && ! command -v google-chrome >/dev/null && [[ ! -x ${CHROMIUM:-} ]]; then
  [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || missing "there is no Chromium, and no right to install one"
  echo "installing Chromium from the distribution" >&2
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core; } >&2 \
    || missing "the distribution's Chromium cannot be installed"
fi

command -v npm >/dev/null || missing "there is no npm"
mkdir -p "$modules"
if ! cmp -s "$here/package-lock.json" "$modules/package-lock.json" || [[ ! -d $modules/node_modules ]]; then
  cp "$here/package.json" "$here/package-lock.json" "$modules/"
  npm ci --prefix "$modules" --ignore-scripts --no-audit --no-fund >&2 || { rm -f "$modules/package-lock.json"; missing "the packages for Node cannot be fetched"; }
fi
