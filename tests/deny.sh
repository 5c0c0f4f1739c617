#!/usr/bin/env bash
# Holds every lock file against deny.toml: licences, bans, sources; and advisories, where their database can be had.
#
#   tests/deny.sh            PLINTH_ADVISORIES=DIR takes the database from a clone of it
set -euo pipefail
cd "$(dirname "$0")/.."

version=0.20.2
database=https://github.com/rustsec/advisory-db
tools=$PWD/target/tools
deny=$tools/bin/cargo-deny

say() { echo "deny: $*" >&2; }

if [[ $("$deny" --version 2>/dev/null) != "cargo-deny $version" ]]; then
  say "building cargo-deny $version"
  # Unoptimised: it takes seconds more to run and minutes less to build.
  CARGO_PROFILE_DEV_DEBUG=0 CARGO_TARGET_DIR=$tools/.cargo-deny \
    cargo install cargo-deny --version "$version" --locked --debug --no-default-features --root "$tools" --force --quiet
  rm -rf "$tools/.cargo-deny"
fi

config=$PWD/deny.toml
checks=(licenses bans sources)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [[ -n ${PLINTH_ADVISORIES:-} ]]; then
  # cargo-deny takes a database by its address alone; git goes to the clone instead.
  export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0="url.file://$PLINTH_ADVISORIES.insteadOf" GIT_CONFIG_VALUE_0=$database
fi
# The client asks nobody for a password.
if timeout 20 env GIT_TERMINAL_PROMPT=0 git ls-remote --exit-code "$database" HEAD >/dev/null 2>&1; then
  config=$scratch/deny.toml
  {
    cat deny.toml
    echo "git-fetch-with-cli = true"
    echo "db-path = \"$scratch/advisories\""
    echo "db-urls = [\"$database\"]"
  } >"$config"
  checks+=(advisories)
else
  say "advisories were not looked at: $database cannot be reached from here"
fi

git ls-files '*Cargo.lock' | while read -r lock; do
  manifest=$(dirname "$lock")/Cargo.toml
  say "$manifest: ${checks[*]}"
  "$deny" --log-level error --locked --config "$config" --manifest-path "$manifest" check --hide-inclusion-graph "${checks[@]}" >&2
done
