#!/bin/sh
# Fetches what the tests talk to and no Python package ships, into .tools: nothing on the machine
# changes and no rights are needed. Where there is no apt-get, tests that need these parts say so.
set -eu
unset CDPATH
cd -- "$(dirname -- "$0")/.."

# PROGRAM:PACKAGE
WANTED="prometheus:prometheus docker-registry:docker-registry haproxy:haproxy dockerd:docker.io ip:iproute2
    ssh:openssh-client ssh-keygen:openssh-client sshd:openssh-server"

tools=$(pwd)/.tools
missing="" packages=""
for each in $WANTED; do
    program=${each%%:*}
    if ! command -v "$program" >/dev/null 2>&1 && [ ! -x "$tools/bin/$program" ]; then
        missing="$missing $program"
        packages="$packages ${each#*:}"
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
# The packages with what they need and the machine does not have; only read, nothing is installed.
needed() {
    apt --print-uris --yes --no-install-recommends -o Debug::NoLocking=1 install $packages |
        sed -n "s/^'[^']*' \([^_ ]*\)_.*/\1/p"
}
if apt update >"$work/log" 2>&1 && names=$(needed 2>>"$work/log") &&
    (cd "$work/debs" && apt download $names) >>"$work/log" 2>&1; then
    mkdir -p "$tools/bin"
    for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$tools"; done
else
    echo "could not be fetched, tests that need it are skipped:$missing"
    tail -n 3 "$work/log"
    exit 0
fi

# A program finds the libraries and the programs that were fetched with it.
libraries=$(dirname "$(find "$tools/usr/lib" -mindepth 2 -maxdepth 2 -name 'lib*.so*' | head -n 1)")
for program in $missing; do
    for place in bin sbin; do
        [ -x "$tools/usr/$place/$program" ] || continue
        cat >"$tools/bin/$program" <<WRAPPER
#!/bin/sh
export LD_LIBRARY_PATH="$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}" PATH="$tools/usr/sbin:$tools/usr/bin:\$PATH"
exec "$tools/usr/$place/$program" "\$@"
WRAPPER
        chmod +x "$tools/bin/$program"
    done
done
