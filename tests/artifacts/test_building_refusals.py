"""What cannot be built as it is meant is refused before anything runs."""

from __future__ import annotations

import pytest
from building_world import statuses

from crossfade.core.errors import BadInputError


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (lambda r: r.add("core", inputs=("source/**",)), "build.no-input", "core: no file matches the input 'source/**'"),
        (lambda r: r.add("core", inputs=("*.log",)), "build.no-input", "'*.log'"),
        (lambda r: r.add("core", inputs=("../../x",)), "build.input-outside", "leads out of the project"),
        (lambda r: r.add("core", outputs=("../dist",)), "build.output-outside", "'../dist' is not in the component's"),
        (lambda r: r.add("core", outputs=("x/..",)), "build.output-outside", "'x/..'"),
        (lambda r: r.add("core", outputs=("src",)), "build.overlap", "src holds core/src/a.txt, which is under version"),
        (lambda r: r.add("core", inputs=("src", "dist/**")), "build.overlap", "it reads dist/** and makes core/dist"),
        (lambda r: r.add("loader", inputs=("../core/dist/out.txt",)), "build.overlap", "which core makes"),
        (lambda r: r.add("core", outputs=("dist", "dist/deep")), "build.overlap", "core/dist and core/dist/deep lie in"),
        (lambda r: r.add("core", ["frobnicate"]), "build.no-command", "'frobnicate' is not found"),
        (lambda r: r.add("core", ["./src/a.txt"]), "build.no-command", "'./src/a.txt' is not found"),
        (lambda r: r.add("nowhere"), "build.no-folder", "there is no folder nowhere"),
        (lambda r: r.add("core", needs=("loader",)), "build.cycle", "core → loader → core"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_as_it_is_meant_is_refused_before_anything_runs(repository, change, code, says):
    repository.build()
    before = {
        path: path.read_bytes() for path in repository.root.rglob("*") if path.is_file() and ".git" not in path.parts
    }
    change(repository)
    if code == "build.cycle":
        repository.edges["loader"] = frozenset({"core"})
    with pytest.raises(BadInputError) as caught:
        repository.build()
    assert caught.value.code == code
    assert says in caught.value.what
    assert caught.value.next
    after = {
        path: path.read_bytes() for path in repository.root.rglob("*") if path.is_file() and ".git" not in path.parts
    }
    assert after == before


def test_outputs_that_two_builds_make_are_refused(repository):
    repository.write(**{"core/inner/src/a.txt": "a"})
    repository.add("inner", folder="core/inner")
    assert statuses(repository.build("inner", "core")) == {"core": "built", "inner": "built"}
    repository.add("core", outputs=("dist", "inner/dist/x"))
    with pytest.raises(BadInputError, match="core and inner both make core/inner/dist"):
        repository.build()
    repository.add("core", outputs=("inner",))
    with pytest.raises(BadInputError, match="core: its output core/inner holds the folder of inner"):
        repository.build()
