#!/bin/sh
# Fetches what the tests talk to and no Python package ships, into .tools: nothing on the machine
# changes and no rights are needed. Where there is no apt-get, tests that need these parts say so.
set -eu
unset CDPATH
cd -- "$(dirname -- "$0")/.."

PACKAGES="prometheus docker-registry"

tools=$(pwd)/.tools
missing=""
for package in $PACKAGES; do
    if ! command -v "$package" >/dev/null 2>&1 && [ ! -x "$tools/usr/bin/$package" ]; then
        missing="$missing $package"
    fi
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    echo "not on the PATH, tests that need it are skipped:$missing"
    exit 0
fi

echo "fetching into .tools:$missing"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/debs"
# Lists of our own, because those of the machine may be absent, old or unreadable.
apt() {
    apt-get -qq -o "Dir::State::lists=$work/lists" -o "Dir::Cache=$work/cache" \
        -o APT::Sandbox::User="$(id -un)" "$@"
}
if apt update >"$work/log" 2>&1 && (cd "$work/debs" && apt download $missing) >>"$work/log" 2>&1; then
    mkdir -p "$tools"
    for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$tools"; done
else
    echo "could not be fetched, tests that need it are skipped:$missing"
    tail -n 3 "$work/log"
fi
