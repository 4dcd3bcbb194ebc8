#!/bin/sh
# Resolves the dependencies of pyproject.toml into requirements/*.txt, with hashes, for every
# supported Python and platform. Arguments go to the resolver, such as --upgrade-package NAME.
set -eu
unset CDPATH
cd -- "$(dirname -- "$0")/.."
command -v uv >/dev/null 2>&1 || {
    echo "make lock: uv was not found; next: install it (it is needed for locking only)" >&2
    exit 1
}
resolve() {
    uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-header --no-annotate --quiet "$@"
}
resolve --output-file requirements/runtime.txt "$@"
resolve --all-extras --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt "$@"
uv pip compile requirements/servers.in --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements/servers.txt "$@"
