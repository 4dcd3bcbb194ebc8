"""The compatibility matrix: from ranges alone, and from the tags of a real repository."""

import json
import subprocess

import pytest

from crossfade.config.load import load
from crossfade.core.errors import BadInputError
from crossfade.versioning.compatibility import Released, matrix, released_of
from crossfade.versioning.graph import read_graph
from crossfade.versioning.package_json import ECOSYSTEMS, Npm
from crossfade.versioning.pyproject import Python
from crossfade.versioning.release_history import in_graph, in_workspace, read_history
from crossfade.versioning.tags import USUAL, TagScheme
from crossfade.versioning.values import Dependency, Package

NPM = Npm()


def table(*releases, ecosystem=NPM):
    return matrix(releases, dict.fromkeys({each.component for each in releases}, ecosystem))


def cores(*versions):
    return [Released("core", version) for version in versions]


def test_each_release_tells_what_it_works_with():
    told = table(
        *cores("1.0.0", "1.1.0", "1.2.0", "2.0.0", "10.0.0"),
        Released("js", "1.0.0", {"core": ("^1.0.0",)}),
        Released("js", "1.10.0", {"core": (">=1.2.0",), "loader": ("^3.0.0",)}),
        Released("js", "1.9.0", {"core": ("1.0.0 || 1.2.0",), "loader": ("^3.0.0",)}),
        Released("loader", "3.1.0", {"core": ("^2.0.0",)}),
    )
    assert told.as_markdown() == (
        "| js | core | loader |\n| --- | --- | --- |\n"
        "| 1.10.0 | 1.2.0 – 10.0.0 | 3.1.0 |\n| 1.9.0 | 1.0.0, 1.2.0 | 3.1.0 |\n| 1.0.0 | 1.0.0 – 1.2.0 |  |\n"
        "\n| loader | core |\n| --- | --- |\n| 3.1.0 | 2.0.0 |\n"
    )
    assert told.as_json()["js"]["1.9.0"] == {
        "core": {"ranges": ["1.0.0 || 1.2.0"], "versions": ["1.2.0", "1.0.0"]},
        "loader": {"ranges": ["^3.0.0"], "versions": ["3.1.0"]},
    }
    assert json.loads(json.dumps(told.as_json())) == told.as_json()


def test_nothing_that_fits_is_said_and_so_is_what_nobody_can_tell():
    told = table(
        *cores("1.0.0"),
        Released("a", "1.0.0", {"core": ("^2.0.0",)}),
        Released("b", "1.0.0", {"core": ("github:shop/core|x",)}),
    )
    assert "| 1.0.0 | none |" in told.as_markdown()
    assert r"| 1.0.0 | github:shop/core\|x |" in told.as_markdown()
    assert told.as_json()["b"]["1.0.0"]["core"]["versions"] is None


def test_several_ranges_must_all_hold():
    told = table(*cores("1.0.0", "1.5.0", "2.0.0"), Released("js", "1.0.0", {"core": (">=1.2.0", "<2.0.0")}))
    assert told.rows[0].works[0].versions == ("1.5.0",)


def test_prereleases_interrupt_nothing():
    releases = [*cores("1.0.0", "1.1.0-rc.1", "1.1.0", "2.0.0-rc.1"), Released("js", "1.0.0", {"core": ("^1.0.0",)})]
    assert table(*releases).rows[0].works[0].spans == "1.0.0 – 1.1.0"


def test_python_ranges_are_read_as_python_reads_them():
    releases = [*cores("1.4.0", "1.5.0", "2.0.0"), Released("api", "1.0.0", {"core": ("~=1.4",)})]
    assert table(*releases, ecosystem=Python()).rows[0].works[0].versions == ("1.5.0", "1.4.0")


@pytest.mark.parametrize(
    ("range", "meant"),
    [
        ("workspace:*", "1.1.0"),
        ("workspace:^", "^1.1.0"),
        ("workspace:~", "~1.1.0"),
        ("workspace:^1.0.0", "^1.0.0"),
        ("~1.0.0", "~1.0.0"),
    ],
)
def test_a_workspace_range_means_what_publishing_makes_of_it(range, meant):
    js = Package("js", "2.0.0", dependencies=(Dependency("core", range), Dependency("core", "*", "devDependencies")))
    core = Package("core", "1.1.0", "packages/core")
    assert released_of(js, [core, js], ECOSYSTEMS) == Released("js", "2.0.0", {"core": (meant,)})


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A repository with `core` and `js` (npm) and `api` (Python), and a function that releases versions of them."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")

    def run(*arguments):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)

    def release(name, version, text, path):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
        run("add", "-A")
        run("commit", "-q", "--allow-empty", "-m", f"{name} {version}")
        run("tag", "-a", "-m", "x", f"{name}@{version}")

    run("init", "-q", "-b", "main")
    run("config", "user.name", "Ada")
    run("config", "user.email", "ada@example.org")
    release.root = tmp_path
    return release


def npm(name, version, **dependencies):
    return json.dumps({"name": name, "version": version, "dependencies": dependencies})


def test_the_matrix_of_a_real_history(shop):
    core, js = "core/package.json", "js/package.json"
    shop("core", "1.0.0", npm("core", "1.0.0"), core)
    shop("js", "1.0.0", npm("js", "1.0.0", core="workspace:^"), js)
    shop("core", "1.1.0", npm("core", "1.1.0"), core)
    shop("js", "1.1.0", npm("js", "1.1.0", core="workspace:*"), js)
    shop("core", "2.0.0", npm("core", "2.0.0"), core)
    shop("js", "2.0.0", "{ broken", js)
    shop("other", "9.0.0", "x", "other")
    packages = [Package("core", "2.0.0", "core", core), Package("js", "2.0.0", "js", js)]
    history = read_history(shop.root, TagScheme(USUAL), {"core", "js"}, in_workspace(packages), ECOSYSTEMS)
    assert history.untold == ("js@2.0.0",)
    told = matrix(history.releases, {"core": NPM, "js": NPM}).as_json()
    assert {version: works["core"]["versions"] for version, works in told["js"].items()} == {
        "1.1.0": ["1.1.0"],
        "1.0.0": ["1.1.0", "1.0.0"],
    }
    assert "core" not in told


def test_a_project_inside_a_repository_finds_its_own_files(shop):
    shop("core", "1.0.0", npm("core", "1.0.0"), "below/core/package.json")
    shop("js", "1.0.0", npm("js", "1.0.0", core="^1.0.0"), "below/js/package.json")
    packages = [Package(name, "1.0.0", name, f"{name}/package.json") for name in ("core", "js")]
    history = read_history(shop.root / "below", TagScheme(USUAL), {"core", "js"}, in_workspace(packages), ECOSYSTEMS)
    assert sorted(history.releases) == [Released("core", "1.0.0"), Released("js", "1.0.0", {"core": ("^1.0.0",)})]


CONFIG = """\
project: shop
components:
  core: {source: core}
  api: {source: api}
  gateway: {source: {path: gateway, needs: {core: "RANGE"}, embeds: [api]}}
"""


def test_the_matrix_of_components_of_every_kind(shop):
    project = "[project]\nname = 'Api_Server'\nversion = '%s'\ndependencies = ['Core.Lib%s; python_version > \"3\"']\n"
    library = "[project]\nname = 'core-lib'\nversion = '%s'\n"
    shop("core", "1.0.0", library % "1.0", "core/pyproject.toml")
    shop("core", "1.1.0", library % "1.1", "core/pyproject.toml")
    shop("api", "3.0.0", project % ("3.0", ">=1.1,<3"), "api/pyproject.toml")
    (shop.root / "crossfade.yaml").write_text(CONFIG.replace("RANGE", "^1.0.0"))
    shop("gateway", "1.0.0", "1.0.0", "gateway/VERSION")
    (shop.root / "crossfade.yaml").write_text("components: [broken")
    shop("gateway", "1.0.1", "1.0.1", "gateway/VERSION")
    (shop.root / "crossfade.yaml").write_text(CONFIG.replace("RANGE", ">=1.1.0"))
    shop("core", "2.0.0", library % "2.0", "core/pyproject.toml")
    shop("api", "3.1.0", project % ("3.1", "~=2.0"), "api/pyproject.toml")
    shop("gateway", "1.1.0", "1.1.0", "gateway/VERSION")
    loaded = load(shop.root / "crossfade.yaml")
    graph = read_graph(loaded)
    scheme, names = TagScheme(USUAL), {package.name for package in graph.packages}
    history = read_history(shop.root, scheme, names, in_graph(loaded, graph), graph.ecosystems)
    assert history.untold == ()
    of = {package.name: graph.ecosystems[package.ecosystem] for package in graph.packages}
    told = matrix(history.releases, of).as_json()
    assert {version: works["core"]["versions"] for version, works in told["api"].items()} == {
        "3.1.0": ["2.0.0"],
        "3.0.0": ["2.0.0", "1.1.0"],
    }
    works = {
        version: {other: each["versions"] for other, each in row.items()} for version, row in told["gateway"].items()
    }
    assert works == {
        "1.1.0": {"core": ["2.0.0", "1.1.0"], "api": ["3.1.0"]},
        "1.0.0": {"core": ["1.1.0", "1.0.0"], "api": ["3.0.0"]},
    }


def test_a_history_without_tags_is_empty_and_without_git_an_error(shop, tmp_path_factory, monkeypatch):
    assert read_history(shop.root, TagScheme(USUAL), [], in_workspace([]), ECOSYSTEMS) == ((), ())
    elsewhere = tmp_path_factory.mktemp("plain")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(elsewhere.parent))
    with pytest.raises(BadInputError) as caught:
        read_history(elsewhere, TagScheme(USUAL), [], in_workspace([]), ECOSYSTEMS)
    assert caught.value.code == "git.no-repository"
