"""One graph of npm, Python, VERSION files and the ledger; and in a workspace alone exactly the workspace's."""

import json
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.config.load import load
from crossfade.core.errors import BadInputError
from crossfade.versioning.component_edits import component_edits, map_edits, withdrawn_map
from crossfade.versioning.edits import edits
from crossfade.versioning.graph import read_graph
from crossfade.versioning.order import order
from crossfade.versioning.planning import plan
from crossfade.versioning.values import Bump, Change, Changeset, Dependency, Snapshot
from crossfade.versioning.workspace import read_repository

CONFIG = """\
project: shop
components:
  core: {source: packages/core}             # npm, @shop/core
  client-js: {source: packages/client}      # npm, shop-client
  client-py: {source: python/client}        # PyPI, shop-client
  engine: {source: python/engine}           # PyPI, Shop_Engine, its version in a module
  gateway:
    source:
      path: services/gateway                # VERSION
      needs: {client-js: "^1.2.0", engine: '>=0.3.0'}
  billing:
    source: {path: services/billing, version: ledger, embeds: [gateway], needs: {core: ^2.0.0}}
  runs-only: {command: [serve, "{port}"]}
environments: {live: {}}
versioning:
  maps:
    - {file: packages/client/map.json, name: ".", of: core}
"""
FILES = {
    "crossfade.yaml": CONFIG,
    "packages/core/package.json": '{\n  "name": "@shop/core",\n  "version": "2.0.0"\n}\n',
    "packages/client/package.json": '{"name": "shop-client", "version": "1.2.0",'
    ' "dependencies": {"@shop/core": "^2.0.0", "engine": "^7", "billing": "*"}}',
    "packages/client/map.json": '{\n  "2.0.0": "v2.0.0"\n}\n',
    "python/client/pyproject.toml": """\
        [project]
        name = "shop-client"
        version = "1.0"
        dependencies = ["shop_engine>=0.3,<0.4", "gateway", "core==9"]
        """,
    "python/engine/pyproject.toml": """\
        [project]
        name = "Shop_Engine"
        dynamic = ["version"]
        classifiers = ["Private :: Do Not Upload"]
        [tool.hatch.version]
        path = "src/engine/__init__.py"
        """,
    "python/engine/src/engine/__init__.py": '__version__ = "0.3.0rc1"\n',
    "services/gateway/VERSION": "v1.9.3\n",
}


@pytest.fixture
def shop(tmp_path):
    """Write the shop, with some files changed or (None) absent, and read its graph."""

    def write(files=None):
        for path, text in {**FILES, **(files or {})}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            if text is not None:
                (tmp_path / path).write_text(textwrap.dedent(text) if path.endswith(".toml") else text)
        return read_graph(load(tmp_path / "crossfade.yaml"))

    return write


READY = {"python/engine/src/engine/__init__.py": '__version__ = "0.3.0"\n'}


def planned(graph, *changes, **options):
    changesets = graph.resolved([Changeset("one", tuple(Change(name, bump) for name, bump in changes), "Say.")])
    return plan(graph.packages, changesets, rules=graph.rules, ecosystems=graph.ecosystems, **options)


def every_edit(graph, release_plan):
    """All that a plan changes: path → text."""
    texts = {**graph.repository.texts, ".changeset/one.md": "-"}
    found = [
        *edits(release_plan, graph.packages, texts, graph.rules, ecosystems=graph.ecosystems),
        *component_edits(graph, release_plan),
    ]
    assert len({each.path for each in found}) == len(found)
    return {each.path: each.new for each in found}


def test_all_kinds_are_in_one_graph(shop):
    graph = shop(READY)
    kinds = {each.name: (each.ecosystem, each.version, each.private) for each in graph.packages}
    assert kinds == {
        "@shop/core": ("npm", "2.0.0", False),
        "shop-client": ("npm", "1.2.0", False),
        "client-py": ("python", "1.0.0", False),
        "engine": ("python-dynamic", "0.3.0", True),
        "gateway": ("version-file", "1.9.3", False),
        "billing": ("ledger", "0.0.0", False),
    }
    needs = {each.name: each.dependencies for each in graph.packages if each.dependencies}
    assert needs == {
        # `engine` and `billing` of npm are not the components that are called so, nor is Python's `core`.
        "shop-client": (Dependency("@shop/core", "^2.0.0"),),
        "client-py": (Dependency("engine", ">=0.3,<0.4"),),
        "gateway": (Dependency("shop-client", "^1.2.0"), Dependency("engine", ">=0.3.0")),
        "billing": (Dependency("@shop/core", "^2.0.0"),),
    }
    assert graph.rules.embeds == {"billing": ("gateway",)}
    assert order(graph.packages, embeds=graph.rules.embeds) == (
        ("@shop/core", "engine"),
        ("client-py", "shop-client"),
        ("gateway",),
        ("billing",),
    )
    assert [graph.members[each].own_name for each in ("client-py", "engine", "billing")] == [
        "shop-client",
        "Shop_Engine",
        "billing",
    ]


def test_a_change_travels_through_every_ecosystem(shop):
    graph = shop(READY)
    found = planned(graph, ("core", Bump.MAJOR), ("Shop_Engine", Bump.MAJOR))
    assert {each.name: each.new for each in found.releases} == {
        "@shop/core": "3.0.0",
        "engine": "0.4.0",  # a breaking change below 1.0.0
        "shop-client": "1.2.1",
        "client-py": "1.0.1",
        "billing": "0.0.1",
    }
    new = every_edit(graph, found)
    assert new["python/engine/src/engine/__init__.py"] == '__version__ = "0.4.0"\n'
    assert '"shop_engine>=0.4.0,<0.5"' in new["python/client/pyproject.toml"]
    assert 'version = "1.0.1"' in new["python/client/pyproject.toml"]
    assert json.loads(new["packages/client/package.json"])["dependencies"]["@shop/core"] == "^3.0.0"
    assert json.loads(new[".changeset/versions.json"]) == {"billing": "0.0.1"}
    assert "core: ^3.0.0}" in new["crossfade.yaml"]
    changed = [(a, b) for a, b in zip(CONFIG.splitlines(), new["crossfade.yaml"].splitlines(), strict=True) if a != b]
    assert [before.split("needs")[0] for before, _ in changed] == [after.split("needs")[0] for _, after in changed]
    assert "python/engine/pyproject.toml" not in new


def test_what_embeds_is_released_again_and_needs_keep_their_quotes(shop):
    graph = shop(READY)
    found = planned(graph, ("shop-client", Bump.MINOR), ("gateway", Bump.MINOR), ("engine", Bump.PATCH))
    assert {each.name: each.new for each in found.releases}.items() >= {"gateway": "1.10.0", "billing": "0.0.1"}.items()
    new = every_edit(graph, found)
    assert new["services/gateway/VERSION"] == "v1.10.0\n"
    assert "needs: {client-js: \"^1.3.0\", engine: '>=0.3.1'}" in new["crossfade.yaml"]


def test_a_snapshot_is_pinned_in_every_ecosystem(shop):
    graph = shop(READY)
    fit = replace(graph, rules=replace(graph.rules, prerelease_template="dev.{timestamp}"))
    named = [(name, Bump.MAJOR) for name in ("engine", "core", "client-js", "gateway")]
    new = every_edit(fit, planned(fit, *named, snapshot=Snapshot(7.0)))
    assert new["python/engine/src/engine/__init__.py"] == '__version__ = "0.0.0.dev7000"\n'
    assert '"shop_engine==0.0.0.dev7000"' in new["python/client/pyproject.toml"]
    assert json.loads(new["packages/client/package.json"])["dependencies"]["@shop/core"] == "0.0.0-dev.7000"
    assert "client-js: \"0.0.0-dev.7000\", engine: '0.0.0-dev.7000'" in new["crossfade.yaml"]
    found = planned(graph, ("engine", Bump.PATCH), ("core", Bump.PATCH), snapshot=Snapshot(0.0, "rc"))
    with pytest.raises(BadInputError, match="no counterpart in PEP 440"):
        every_edit(graph, found)


@pytest.mark.parametrize("config", [None, "{}"])
def test_a_package_json_that_only_holds_tools_is_no_package(shop, config):
    tools = '{"private": true, "devDependencies": {"@shop/core": "^2.0.0"}}'
    graph = shop({**READY, "package.json": tools, ".changeset/config.json": config})
    assert len(graph.packages) == 6
    assert graph.repository.top.dependencies == (Dependency("@shop/core", "^2.0.0", "devDependencies"),)
    assert graph.repository.tool == "crossfade"


def test_either_name_leads_to_a_component(shop):
    graph = shop(READY)
    assert graph.named("client-js", "x") == graph.named("shop-client", "x") == "shop-client"
    assert graph.named("Shop_Engine", "x") == "engine"
    assert graph.of_component("core").name == "@shop/core"
    with pytest.raises(BadInputError) as caught:
        graph.named("biling", ".changeset/a.md")
    assert (caught.value.code, caught.value.where) == ("versions.unknown-package", ".changeset/a.md")
    assert caught.value.next == "did you mean `billing`?"
    with pytest.raises(BadInputError, match="'core' and '@shop/core' are the same package"):
        planned(graph, ("core", Bump.MINOR), ("@shop/core", Bump.MINOR))
    with pytest.raises(BadInputError, match="there is no component 'runs-only' with a source"):
        graph.of_component("runs-only")


def test_a_name_with_two_meanings_is_not_guessed(shop):
    config = CONFIG.replace("  client-js: ", "  other-py: {source: python/other}\n  client-js: ")
    other = FILES["python/client/pyproject.toml"].replace("shop-client", "twin")
    twin = FILES["python/client/pyproject.toml"].replace("shop-client", "twin").replace('"gateway", ', "")
    graph = shop(
        {**READY, "crossfade.yaml": config, "python/client/pyproject.toml": other, "python/other/pyproject.toml": twin}
    )
    with pytest.raises(BadInputError) as caught:
        graph.named("twin", ".changeset/a.md")
    assert caught.value.code == "versions.ambiguous"
    assert caught.value.next == "write client-py or other-py"


def test_version_maps_follow_the_plan(shop):
    graph = shop(READY)
    maps = load(graph.repository.root / "crossfade.yaml").project.versioning.maps
    texts = {"packages/client/map.json": FILES["packages/client/map.json"]}
    found = planned(graph, ("core", Bump.MINOR))
    (edit,) = map_edits(graph, found, maps, texts)
    assert edit.new == '{\n  "2.0.0": "v2.0.0",\n  "2.1.0": "v2.1.0"\n}\n'
    assert map_edits(graph, found, maps, {edit.path: edit.new}) == ()
    assert withdrawn_map(maps[0], "2.1.0", {edit.path: edit.new}).new == texts[edit.path]
    assert withdrawn_map(maps[0], "2.1.0", texts) is None
    assert map_edits(graph, planned(graph, ("engine", Bump.PATCH)), maps, texts) == ()
    with pytest.raises(BadInputError, match=r"there is no packages/client/map\.json"):
        map_edits(graph, found, maps, {})


def test_private_components_have_versions_unless_the_configuration_says_otherwise(shop):
    assert shop(READY).rules.version_private
    graph = shop({**READY, ".changeset/config.json": '{\n  "updateInternalDependencies": "minor"\n}'})
    assert (graph.rules.version_private, graph.rules.update_internal_dependencies) == (True, "minor")
    graph = shop({**READY, ".changeset/config.json": '{"privatePackages": {"version": true, "tag": false}}'})
    assert (graph.rules.version_private, graph.rules.tag_private) == (True, False)
    assert (graph.rules.compatibility, graph.rules.breaking_below_one) == ("crossfade", "minor")
    third = CONFIG.replace("versioning:\n", "versioning:\n  compatibility: changesets-3\n")
    graph = shop({**READY, "crossfade.yaml": third, ".changeset/config.json": '{"privatePackages": true}'})
    assert (graph.rules.compatibility, graph.rules.breaking_below_one) == ("changesets-3", "major")


FAULTS = {
    "no file": ({"services/gateway/VERSION": None}, "versions.no-file", "crossfade.yaml:8", "VERSION"),
    "outside": (
        {"crossfade.yaml": CONFIG.replace("packages/core", "packages/../../core")},
        "versions.outside",
        "crossfade.yaml:3",
        "top of the repository",
    ),
    "another file": (
        {
            "crossfade.yaml": CONFIG.replace(
                "path: services/gateway ", "version: pyproject.toml\n      path: services/gateway "
            )
        },
        "versions.no-file",
        "crossfade.yaml:8",
        "source",
    ),
    "one folder": (
        {"crossfade.yaml": CONFIG.replace("path: services/billing", "path: services/gateway")},
        "versions.same-folder",
        "crossfade.yaml:8",
        "folder of its own",
    ),
    "one name": (
        {
            "python/client/pyproject.toml": FILES["python/client/pyproject.toml"],
            "crossfade.yaml": CONFIG.replace("client-py:", "shop-client:"),
        },
        "versions.same-name",
        "crossfade.yaml:5",
        "another name",
    ),
    "bad need": (
        {"crossfade.yaml": CONFIG.replace('"^1.2.0"', '"^^1"')},
        "versions.bad-range",
        "crossfade.yaml:10",
        "^1.2.0",
    ),
    "need behind": (
        {"crossfade.yaml": CONFIG.replace('"^1.2.0"', '"^1.3.0"')},
        "versions.out-of-range",
        "crossfade.yaml:10",
        "today",
    ),
    "need without a source": (
        {"crossfade.yaml": CONFIG.replace('client-js: "^1.2.0"', "runs-only: '*'")},
        "versions.no-source",
        "crossfade.yaml:10",
        "give runs-only a `source`",
    ),
    "needed twice": (
        {"crossfade.yaml": CONFIG.replace("packages/client}", "{path: packages/client, needs: {core: ^2.0.0}}}")},
        "versions.needed-twice",
        "crossfade.yaml:4",
        "take it away here",
    ),
    "no version": (
        {"packages/core/package.json": '{"name": "@shop/core"}'},
        "versions.no-version",
        "packages/core/package.json",
        '"version"',
    ),
    "a prerelease that SemVer lacks": (
        {"python/engine/src/engine/__init__.py": 'a = 1\n__version__ = "1.0.post1"\n'},
        "versions.bad-version",
        "python/engine/src/engine/__init__.py:2",
        "correct",
    ),
}


@pytest.mark.parametrize(("files", "code", "where", "hint"), FAULTS.values(), ids=FAULTS)
def test_what_does_not_fit_together_is_told_with_its_place(shop, files, code, where, hint):
    with pytest.raises(BadInputError) as caught:
        shop({**READY, **files})
    assert (caught.value.code, caught.value.where) == (code, where)
    assert hint in caught.value.next


def npm_workspace(root: Path, *, components: int) -> None:
    """A workspace with ranges of every kind; the first few packages are components of crossfade.yaml as well."""
    lines = ["project: shop", "components:"]
    for number in range(12):
        folder = root / ("packages" if number % 3 else "apps") / f"p{number}"
        folder.mkdir(parents=True)
        ranges = ["^1.0.0", "workspace:*", "~1.0.0", "*", "workspace:^", "2.x", ">=1 <3", "link:../p1"]
        tree = {
            "name": f"@x/p{number}",
            "version": "1.0.0",
            "private": number == 7,
            "dependencies": {f"@x/p{each}": ranges[(number + each) % 8] for each in range(number)},
            "peerDependencies": {"react": "^18", f"@x/p{max(number - 1, 0)}": "^1.0.0"},
            "devDependencies": {"@x/p11": "*"},
        }
        (folder / "package.json").write_text(json.dumps(tree))
        if number < components:
            lines.append(f"  c{number}: {{source: {folder.relative_to(root).as_posix()}}}")
    (root / "package.json").write_text('{"name": "top", "private": true, "workspaces": ["apps/*", "packages/*"]}')
    (root / "package-lock.json").write_text("{}")
    (root / ".changeset").mkdir()
    (root / ".changeset" / "config.json").write_text(
        '{"ignore": ["@x/p11"], "privatePackages": {"version": true, "tag": false}}'
    )
    (root / "crossfade.yaml").write_text("\n".join([*lines, "versioning: {compatibility: changesets-3}", ""]))


@pytest.mark.parametrize("components", [1, 5, 12])
def test_a_pure_npm_workspace_has_exactly_the_graph_of_its_workspace(tmp_path, components):
    npm_workspace(tmp_path, components=components)
    graph, alone = read_graph(load(tmp_path / "crossfade.yaml")), read_repository(tmp_path)
    assert graph.packages == alone.packages
    assert (graph.repository.tool, graph.repository.top) == (alone.tool, alone.top)
    assert alone.texts.items() <= graph.repository.texts.items()
    assert graph.rules.ignore == {"@x/p11"}
    assert graph.rules.tag_private is False
