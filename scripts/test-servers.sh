#!/bin/sh
# Fetches the registries and the peer that the tests talk to into .tools, each in an environment of its own:
# npm's from requirements/npm, Python's from requirements/servers.txt. It does nothing when nothing changed.
set -eu
unset CDPATH PYTHONHOME PYTHONPATH
cd -- "$(dirname -- "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0 PIP_ROOT_USER_ACTION=ignore

tools=$(pwd)/.tools
mkdir -p "$tools"

fresh() { # FOLDER WANTED: whether the folder was made from exactly this
    [ -f "$1/.crossfade-setup" ] && [ "$(cat "$1/.crossfade-setup")" = "$2" ]
}

wanted="$(cat requirements/npm/package.json requirements/npm/package-lock.json | cksum) $tools"
if ! fresh "$tools/npm" "$wanted"; then
    if command -v npm >/dev/null 2>&1; then
        echo "fetching into .tools: verdaccio, changesets, node"
        rm -rf "$tools/npm"
        mkdir -p "$tools/npm"
        cp requirements/npm/package.json requirements/npm/package-lock.json "$tools/npm/"
        (cd "$tools/npm" && npm ci --no-audit --no-fund --loglevel=error >/dev/null)
        printf '%s' "$wanted" >"$tools/npm/.crossfade-setup"
    else
        echo "npm is not on the PATH: tests that need verdaccio or changesets are skipped"
    fi
fi

wanted="$(cksum <requirements/servers.txt) $tools"
if ! fresh "$tools/servers" "$wanted"; then
    echo "fetching into .tools: pypi-server, moto"
    rm -rf "$tools/servers"
    # The interpreter of .venv may itself be a link into an environment: the one below it makes the new one.
    "$(.venv/bin/python -c 'import sys; print(sys._base_executable)')" -m venv --without-pip "$tools/servers"
    .venv/bin/python -m pip --python "$tools/servers/bin/python" install --quiet --require-hashes -r requirements/servers.txt
    printf '%s' "$wanted" >"$tools/servers/.crossfade-setup"
fi
