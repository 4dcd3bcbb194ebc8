"""A project of several ecosystems through a whole release: what was planned is what is read afterwards."""

import json
import subprocess

import pytest

from crossfade.config.load import load
from crossfade.core.errors import BadInputError
from crossfade.versioning.projects import (
    enter_project_pre,
    exit_project_pre,
    open_project,
    prepare_project_status,
    prepare_release,
)
from crossfade.versioning.writing import Work, carry_out

CONFIG = """\
project: shop
components:
  core: {source: packages/core}
  web: {source: {path: packages/web, embeds: [core]}}
  engine: {source: python/engine}
  api: {source: {path: python/api, needs: {core: "^1.0.0"}}}
  gateway: {source: {path: gateway, needs: {api: ^1.0.0}}}
  billing: {source: {path: billing, version: ledger, needs: {engine: '>=0.3.0 <0.4.0'}}}
versioning:
  maps: [{file: packages/web/src/map.ts, name: MAP, of: core}]
"""
FILES = {
    "crossfade.yaml": CONFIG,
    "package.json": '{"name": "top", "version": "0.0.0", "private": true, "workspaces": ["packages/*"]}',
    "packages/core/package.json": '{"name": "@shop/core", "version": "1.0.0"}',
    "packages/web/package.json": '{"name": "web", "version": "1.0.0", "private": true, "devDependencies": {"@shop/core": "^1.0.0"}}',
    "packages/web/src/map.ts": "export const MAP = {\n  '1.0.0': 'v1.0.0'\n};\n",
    "package-lock.json": json.dumps(
        {
            "lockfileVersion": 3,
            "packages": {
                "packages/core": {"name": "@shop/core", "version": "1.0.0"},
                "packages/web": {"version": "1.0.0", "devDependencies": {"@shop/core": "^1.0.0"}},
            },
        },
        indent=2,
    ),
    "python/engine/pyproject.toml": '[project]\nname = "shop-engine"\nversion = "0.3.0"\n',
    "python/api/pyproject.toml": '[project]\nname = "shop-api"\ndynamic = ["version"]\ndependencies = ["shop-engine~=0.3.0"]\n'
    '[tool.hatch.version]\npath = "api.py"\n',
    "python/api/api.py": '__version__ = "1.0"\n',
    "uv.lock": '[[package]]\nname = "shop-engine"\nversion = "0.3.0"\nsource = { editable = "python/engine" }\n',
    "gateway/VERSION": "1.0.0\n",
    ".changeset/one.md": '---\n"core": major\n"shop-engine": minor\n---\n\nMore of it.\n',
}


@pytest.fixture
def shop(tmp_path):
    """A repository with the project, committed; some files changed."""

    def write(files=None):
        for path, text in {**FILES, **(files or {})}.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "begin"]):
            subprocess.run([*git, *command], cwd=tmp_path, check=True, capture_output=True)
        return tmp_path

    return write


def versions(root):
    return {each.name: each.version for each in open_project(load(root / "crossfade.yaml")).graph.packages}


def test_what_was_planned_is_what_is_read_afterwards(shop):
    root = shop()
    project = open_project(load(root / "crossfade.yaml"))
    prepared = prepare_release(project)
    planned = {each.name: each.new for each in prepared.plan.releases}
    assert planned == {
        "@shop/core": "2.0.0",
        "web": "1.0.1",
        "engine": "0.4.0",
        "api": "1.0.1",
        "billing": "0.0.1",
    }
    before = versions(root)
    carry_out(root, prepared.work)
    assert versions(root) == {**before, **planned}
    assert "'2.0.0': 'v2.0.0'" in (root / "packages/web/src/map.ts").read_text()
    assert json.loads((root / "package-lock.json").read_text())["packages"]["packages/web"] == {
        "version": "1.0.1",
        "devDependencies": {"@shop/core": "^2.0.0"},
    }
    assert 'version = "0.4.0"' in (root / "uv.lock").read_text()
    assert 'core: "^2.0.0"' in (root / "crossfade.yaml").read_text()
    assert "engine: '>=0.4.0 <0.5.0'" in (root / "crossfade.yaml").read_text()
    assert not (root / ".changeset/one.md").exists()
    assert prepare_release(open_project(load(root / "crossfade.yaml"))).nothing


def test_compatibility_leaves_lock_files_to_whoever_asks_for_them(shop):
    exact = CONFIG.replace("versioning:\n", "versioning:\n  compatibility: changesets-3\n")
    config = {".changeset/config.json": '{"privatePackages": {"version": true, "tag": false}}'}
    root = shop({"crossfade.yaml": exact, **config})
    paths = {each.path for each in prepare_release(open_project(load(root / "crossfade.yaml"))).work.edits}
    assert not paths & {"package-lock.json", "uv.lock"}
    (root / "crossfade.yaml").write_text(exact.replace("  maps:", "  lock_files: true\n  maps:"))
    paths = {each.path for each in prepare_release(open_project(load(root / "crossfade.yaml"))).work.edits}
    assert paths >= {"package-lock.json", "uv.lock"}
    (root / "crossfade.yaml").write_text(CONFIG.replace("  maps:", "  lock_files: false\n  maps:"))
    paths = {each.path for each in prepare_release(open_project(load(root / "crossfade.yaml"))).work.edits}
    assert not paths & {"package-lock.json", "uv.lock"}


def test_a_commit_takes_everything_that_the_release_changed(shop):
    root = shop({".changeset/config.json": '{"commit": true}'})
    prepared = prepare_release(open_project(load(root / "crossfade.yaml")))
    assert {each.path for each in prepared.work.edits} == set(prepared.work.paths)
    assert {"python/api/api.py", "crossfade.yaml", ".changeset/versions.json"} <= set(prepared.work.paths)


def test_components_are_left_out_by_either_name(shop):
    root = shop({".changeset/one.md": '---\n"gateway": minor\n---\n\nMore.\n'})
    project = open_project(load(root / "crossfade.yaml"), ignore=["gateway"])
    assert project.graph.rules.ignore == {"gateway"}
    assert prepare_release(project).plan.releases == ()
    with pytest.raises(BadInputError, match="there is no package or component 'gatway'"):
        open_project(load(root / "crossfade.yaml"), ignore=["gatway"])


def test_a_fault_in_any_file_leaves_everything_as_it_was(shop):
    root = shop({"packages/web/src/map.ts": "export const MAP = {\n  '2.0.0': 'elsewhere'\n};\n"})
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and ".git/" not in str(path)}
    with pytest.raises(BadInputError, match=r"MAP has 2\.0\.0 already") as caught:
        prepare_release(open_project(load(root / "crossfade.yaml")))
    assert caught.value.where == "packages/web/src/map.ts:2"
    assert {path: path.read_bytes() for path in before} == before


def test_pre_mode_goes_through_every_ecosystem_and_back(shop):
    root = shop({"crossfade.yaml": CONFIG.replace(", needs: {engine: '>=0.3.0 <0.4.0'}", "")})
    loaded = load(root / "crossfade.yaml")
    with pytest.raises(
        BadInputError, match=r"0\.3\.0-next\.0 has no counterpart|1\.0\.0-next\.0 has no counterpart"
    ) as caught:
        enter_project_pre(loaded, "next")
    assert "such as rc" in caught.value.next
    carry_out(root, Work(enter_project_pre(loaded, "rc").edits))
    carry_out(root, prepare_release(open_project(loaded)).work)
    seen = versions(root)
    assert (seen["@shop/core"], seen["engine"], seen["api"]) == ("2.0.0-rc.0", "0.4.0-rc.0", "1.0.1-rc.0")
    assert 'version = "0.4.0rc0"' in (root / "python/engine/pyproject.toml").read_text()
    assert '"shop-engine~=0.4.0rc0"' in (root / "python/api/pyproject.toml").read_text()
    assert (root / "python/api/api.py").read_text() == '__version__ = "1.0.1rc0"\n'
    carry_out(root, Work(exit_project_pre(loaded).edits))
    carry_out(root, prepare_release(open_project(load(root / "crossfade.yaml"))).work)
    seen = versions(root)
    assert (seen["@shop/core"], seen["engine"], seen["api"]) == ("2.0.0", "0.4.0", "1.0.1")
    assert '"shop-engine~=0.4.0"' in (root / "python/api/pyproject.toml").read_text()


def test_status_tells_what_changed_without_a_changeset(shop):
    root = shop()
    project = open_project(load(root / "crossfade.yaml"), since="HEAD")
    assert prepare_project_status(project, since="HEAD").plan.releases == ()
    (root / "gateway" / "main.go").write_text("package main\n")
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    coverage = prepare_project_status(open_project(load(root / "crossfade.yaml"), since="HEAD"), since="HEAD")
    assert (coverage.changed, coverage.missing, coverage.exit_code) == (("gateway",), True, 1)
    assert prepare_project_status(open_project(load(root / "crossfade.yaml")), since="HEAD").missing is False
