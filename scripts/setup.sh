#!/bin/sh
# Makes .venv from requirements/dev.txt and installs Crossfade into it as an editable package.
# Safe to run again at any time: it does nothing when nothing changed, and repairs what is broken.
set -eu
unset CDPATH PYTHONHOME PYTHONPATH
cd -- "$(dirname -- "$0")/.."
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 PIP_USER=0 PIP_ROOT_USER_ACTION=ignore

fail() {
    printf 'crossfade set-up: %s\n' "$1" >&2
    shift
    for line in "$@"; do printf '  %s\n' "$line" >&2; done
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" || fail "PYTHON=$PYTHON is not a Python of 3.11 or newer."
        command -v "$PYTHON"
        return
    fi
    # The releases that the locked requirements were resolved for come first.
    for name in python3.13 python3.12 python3.11 python3.14 python3 python; do
        if command -v "$name" >/dev/null 2>&1 && new_enough "$name"; then
            command -v "$name"
            return
        fi
    done
    fail "no Python of 3.11 or newer was found." \
        "next: install one (Debian and Ubuntu: apt-get install python3 python3-venv; macOS: brew install python)," \
        "      or name one that is not on the PATH: make PYTHON=/path/to/python3.12"
}

make_venv() {
    python=$(find_python) || exit 1
    rm -rf .venv
    # Debian ships venv without ensurepip; a pip of the system can serve the new environment then.
    if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        "$python" -m venv .venv
    elif "$python" -c 'import venv' >/dev/null 2>&1 && "$python" -m pip --version >/dev/null 2>&1; then
        "$python" -m venv --without-pip .venv
        "$python" -m pip --python .venv/bin/python install --quiet pip
    else
        version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        fail "$python cannot make virtual environments with pip." \
            "next: apt-get install python$version-venv (Debian and Ubuntu), or choose another: make PYTHON=…"
    fi
}

here=$(pwd)
wanted=$(cat requirements/dev.txt pyproject.toml scripts/setup.sh | cksum)
stamp=.venv/.crossfade-setup

if [ -f "$stamp" ] && new_enough .venv/bin/python && [ "$(cat "$stamp")" = "$wanted $here" ]; then
    exit 0
fi

# Scripts in an environment hold its path: one that was moved is made anew.
if ! new_enough .venv/bin/python || ! .venv/bin/python -m pip --version >/dev/null 2>&1 ||
    { [ -f "$stamp" ] && ! grep -qF -- " $here" "$stamp"; }; then
    make_venv
fi

echo "setting up .venv (about a minute the first time)"
.venv/bin/python -m pip install --quiet --require-hashes -r requirements/dev.txt ||
    fail "the locked requirements could not be installed." "next: see pip's words above, then run the same command again"
.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable . ||
    fail "Crossfade itself could not be installed." "next: see pip's words above, then run the same command again"
printf '%s' "$wanted $here" >"$stamp"
