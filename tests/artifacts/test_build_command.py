"""`crossfade build` as people and pipelines call it."""

from __future__ import annotations

import json
import os
import pty
import shutil
import subprocess
import sys

import pytest
from building_world import CALM, configured, made_repository, start

from crossfade.cli import documents
from crossfade.cli.faults import guarded
from patience import PATIENCE


@pytest.fixture
def repository(tmp_path, monkeypatch):
    made = made_repository(tmp_path)
    configured(made)
    monkeypatch.chdir(tmp_path)
    for name in ("NO_COLOR", "FORCE_COLOR", "CROSSFADE_FILE", "CROSSFADE_STATE"):
        monkeypatch.delenv(name, raising=False)
    return made


@pytest.fixture
def crossfade(capfd):
    def run(*arguments):
        code = guarded(arguments)
        out, err = capfd.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


def assert_keys(shape, document):
    assert set(document) == set(shape.__annotations__)


def section(**build):
    return {"source": "core", "build": {"command": ["sh", "-ec", "mkdir dist; cat src/* > dist/out.txt"], **build}}


def test_it_says_what_it_does_and_what_it_has_done(repository, crossfade):
    code, out, err = crossfade("build", "--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "→ core  would be built: it was never built here",
        "→ loader  would be built: it was never built here",
    ]
    assert not (repository.root / ".crossfade").exists()
    code, out, _ = crossfade("build")
    lines = out.splitlines()
    assert code == 0
    assert [line.split()[1] for line in lines[:4]] == ["core", "core", "loader", "loader"]
    assert lines[1].startswith("✓ core  built in ")
    assert lines[1].endswith(", 1 file, 4 bytes")
    assert lines[4] == "✓ 2 built"
    assert crossfade("build")[1].splitlines() == ["· core  unchanged", "· loader  unchanged", "✓ 2 unchanged"]
    repository.write(**{"core/src/a.txt": "other\n"})
    shutil.rmtree(repository.root / "loader/dist")
    assert crossfade("build", "--dry-run")[1].splitlines() == [
        "→ core  would be built: core/src/a.txt changed",
        "→ loader  would be built: core changed, which it needs",
    ]
    repository.write(**{"core/src/a.txt": "a\n"})
    assert crossfade("build", "--dry-run")[1].splitlines() == [
        "· core  unchanged",
        "✓ loader  would be restored: its outputs are not there",
    ]
    assert crossfade("build", "loader")[1].splitlines()[-1] == "✓ 1 restored, 1 unchanged"


@pytest.mark.usefixtures("repository")
def test_json_tells_digests_and_metadata(crossfade):
    code, out, _ = crossfade("build", "--dry-run", "--json")
    planned = json.loads(out)["builds"]
    assert [(each["component"], each["action"]) for each in planned] == [("core", "build"), ("loader", "build")]
    code, out, err = crossfade("build", "--json")
    document = json.loads(out)
    assert (code, err, document["ok"]) == (0, "", True)
    core, loader = document["builds"]
    assert_keys(documents.BuildObject, document)
    assert_keys(documents.ComponentBuildObject, core)
    assert_keys(documents.BuildOutputObject, core["outputs"][0])
    assert_keys(documents.BuildDecisionObject, planned[0])
    assert [core["identity"], loader["identity"]] == [each["identity"] for each in planned]
    assert core["outputs"][0]["sha256"] == "911169ddaaf146aff539f58c26c489af3b892dff0fe283c1c264c65ae5aa59a2"
    assert (core["version"], core["metadata"]["version"], core["metadata"]["branch"]) == ("1.0.0", "1.0.0", "main")
    with open(core["metadata_file"]) as file:  # noqa: PTH123 - a path as it is told
        assert json.load(file) == core["metadata"]
    again = json.loads(crossfade("build", "--json")[1])["builds"]
    assert [(each["status"], each["digest"], each["metadata"]) for each in again] == [
        ("unchanged", each["digest"], each["metadata"]) for each in (core, loader)
    ]


def test_a_failure_shows_the_end_of_its_log_and_where_all_of_it_is(repository, crossfade):
    broken = ["sh", "-c", "for i in $(seq 99); do echo line $i; done; echo 'src/a.txt(3): no such thing' >&2; exit 7"]
    configured(repository, {"core": section(command=broken)})
    code, out, err = crossfade("build")
    assert code == 7
    assert out.splitlines()[-1] == "✗ 1 failed, 1 not built"
    assert "– loader  not built; it needs core, which failed" in out
    lines = err.strip("\n").splitlines()
    assert lines[0] == "  │ line 81"
    assert lines[19:21] == ["  │ src/a.txt(3): no such thing", "✗ core: the build failed with exit code 7"]
    log = lines[21].removeprefix("  where: ")
    with open(log) as file:  # noqa: PTH123 - a path as it is told
        assert file.read().count("line ") == 99
    code, out, err = crossfade("build", "--json")
    document = json.loads(out)
    assert (code, err, document["ok"], document["error"]["code"]) == (7, "", False, "build.failed")
    assert [each["status"] for each in document["builds"]] == ["failed", "stopped"]


def test_the_graph_gives_order_versions_and_what_crossfade_yaml_does_not_name(repository, crossfade):
    dependency = {"name": "@shop/core", "version": "1.0.0", "private": True}
    between = {"name": "@shop/between", "version": "1.0.0", "dependencies": {"@shop/core": "^1.0.0"}}
    site = {"name": "@shop/site", "version": "3.0.0", "devDependencies": {"@shop/between": "*"}}
    packages = {"core": dependency, "between": between, "site": site}
    repository.put({f"{folder}/package.json": json.dumps(each) for folder, each in packages.items()})
    repository.write(
        **{
            "package.json": json.dumps({"name": "shop", "private": True, "workspaces": ["core", "between", "site"]}),
            "package-lock.json": "{}",
            ".changeset/config.json": "{}",
            "between/index.js": "1",
        }
    )
    script = ["sh", "-ec", "mkdir dist; cp package.json dist; cp ../core/dist/out.txt dist"]
    source = {"path": "core", "version": "package.json"}
    configured(
        repository,
        {
            "core": {**section(), "source": source},
            "site": {"source": "site", "build": {"command": script}},
            "loader": None,
        },
    )
    code, out, err = crossfade("build", "site", "--json")
    assert code == 0, out + err
    built = json.loads(out)["builds"]
    assert [(each["component"], each["version"]) for each in built] == [("core", "1.0.0"), ("site", "3.0.0")]
    repository.write(**{"between/index.js": "2"})
    assert crossfade("build", "--dry-run")[1].splitlines() == [
        "· core  unchanged",
        "→ site  would be built: @shop/between changed, which it needs",
    ]


@pytest.mark.parametrize(
    ("components", "arguments", "told"),
    [
        ({}, ["build", "cor"], ("there is no component 'cor'", "did you mean `core`?")),
        ({"core": {"source": "core"}}, ["build", "core"], ("nobody says how core is built", "components.core")),
        ({"core": {"source": "core"}, "loader": None}, ["build"], ("no component has a `build`", "write `build:")),
        (
            {"core": section(inputs=["lib/**"])},
            ["build"],
            ("core: no file matches the input 'lib/**'", "mend the glob"),
        ),
        ({"core": section(command=["frob"])}, ["build"], ("the command 'frob' is not found", "install it")),
        (
            {"core": section(outputs=["src"])},
            ["build"],
            ("core/src holds core/src/a.txt", "git rm -r --cached core/src"),
        ),
        (
            {"core": {**section(), "source": {"path": "core", "needs": {"loader": "*"}}}},
            ["build"],
            ("these wait for each other: core → loader → core", "take one of them out"),
        ),
        ({}, ["build", "--prune", "soon"], ("'soon' is neither an age nor a size", "30d")),
        ({}, ["build", "core", "--prune", "30d"], ("--prune builds nothing", "give it alone")),
        ({}, ["build", "--jobs", "0"], ("invalid value for '--jobs'", "see `crossfade build --help`")),
    ],
)
def test_what_a_person_wrote_wrongly_is_told(repository, crossfade, components, arguments, told):
    configured(repository, components)
    code, _, err = crossfade(*arguments)
    assert code == 2
    says, next_ = told
    assert says in err
    assert next_ in err.partition("next:")[2]


def test_builds_that_wait_for_each_other_are_told_with_their_lines(repository, crossfade):
    path = configured(repository, {"core": {**section(), "source": {"path": "core", "needs": {"loader": "*"}}}})
    path.write_text(json.dumps(json.loads(path.read_text()), indent=1))
    code, _, err = crossfade("build")
    (line,) = (number for number, text in enumerate(path.read_text().splitlines(), 1) if '"loader": "*"' in text)
    where = err.partition("where:")[2].split("\n")[0]
    assert code == 2
    assert where.strip().split(", ")[0] == f"crossfade.yaml:{line}"
    assert where.count(":") == 2


def test_an_output_that_was_not_made_is_a_build_that_failed(repository, crossfade):
    configured(repository, {"core": section(outputs=["lib"])})
    code, _, err = crossfade("build")
    assert code == 7
    assert "core: the build did not make its output lib" in err
    assert "build.outputs" in err.partition("next:")[2]


def test_pruning_says_what_it_threw_away(repository, crossfade):
    for text in ("one\n", "two\n"):
        repository.write(**{"core/src/a.txt": text})
        assert crossfade("build", "core")[0] == 0
    code, out, _ = crossfade("build", "--prune", "30d", "--prune", "1B")
    assert code == 0
    assert out.startswith("✓ 1 build and 0 logs thrown away, ")
    pruned = json.loads(crossfade("build", "--prune", "0s", "--json")[1])
    assert_keys(documents.PruneObject, pruned)
    assert pruned["builds"] == 0
    assert crossfade("build", "core")[1].splitlines()[0] == "· core  unchanged"


def test_what_builds_print_cannot_upset_the_terminal(repository, crossfade):
    configured(repository, {"core": section(command=["sh", "-c", r"printf '\033[2Jgone\007\n'; exit 1"])})
    _, out, err = crossfade("build", "core")
    assert "\x1b" not in out + err
    assert "\x07" not in out + err
    assert "│ gone" in err


@pytest.mark.parametrize("colour", [True, False])
def test_on_a_terminal_it_redraws_with_what_was_printed_last(repository, colour):
    noisy = (
        "echo 'compiling 17 of 20'; while ! test -e ../go; do sleep 0.05; done; mkdir dist; cat src/* > dist/out.txt"
    )
    configured(repository, {"core": section(command=["sh", "-ec", noisy])})
    ours, theirs = pty.openpty()
    variables = {
        **os.environ,
        **CALM,
        "TERM": "xterm-256color",
        "COLUMNS": "100",
        **({} if colour else {"NO_COLOR": "1"}),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "crossfade.cli.main", "build"], stdin=theirs, stdout=theirs, stderr=theirs, env=variables
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:  # the terminal is closed: everybody has left
            break
        if not piece:
            break
        shown += piece
        if b"compiling 17 of 20" in shown:
            (repository.root / "go").touch()
    os.close(ours)
    assert process.wait(PATIENCE) == 0
    text = shown.decode()
    assert "→ core" in text
    assert "✓ loader  built" in text
    assert "✓ 2 built" in text
    assert ("\x1b[32m" in text) == colour


def test_node_builds_and_its_version_is_told(repository, require, crossfade):
    require("node")
    script = "require('fs').mkdirSync('dist'); require('fs').writeFileSync('dist/v', process.version.slice(1))"
    configured(repository, {"core": section(command=["node", "-e", script])})
    code, out, err = crossfade("build", "core", "--json")
    assert code == 0, out + err
    metadata = json.loads(out)["builds"][0]["metadata"]
    assert metadata["nodeVersion"] == repository.text("core/dist/v")


def test_a_closed_output_does_not_end_a_build(repository):
    process = start(repository, "build")
    process.stdout.close()
    assert process.wait(PATIENCE) == 0
    process.stderr.close()
    assert repository.text("loader/dist/out.txt") == "a\nb\nl\n"
