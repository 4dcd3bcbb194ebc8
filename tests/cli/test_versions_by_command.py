"""From changesets to the files of a release, by commands alone: as processes, in repositories of git."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from monorepo import CONFIG, Monorepo
from shapes import holds

KILLED = """
import os, signal
from crossfade.versioning import writing
put = writing._put
def torn(path, content):
    if path.endswith("{file}"):
        put(path, content[: len(content) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    put(path, content)
writing._put = torn
"""


def test_versions_of_every_kind_are_written_together(monorepo: Monorepo) -> None:
    monorepo.changeset("core: minor", "api: minor", "billing: minor", summary="Events, end to end.")
    before = monorepo.tree()
    tried = monorepo.run("version", "--dry-run", "--json")
    assert (tried.code, monorepo.tree()) == (0, before), tried.err
    holds("VersionObject", tried.document)
    assert {each["name"]: each["new"] for each in tried.document["releases"]} == {
        "core": "1.1.0",
        "api": "1.1.0",
        "billing": "0.1.0",
        "web": "1.0.1",
    }
    assert next(each["why"] for each in tried.document["releases"] if each["name"] == "web") == "embeds core"
    done = monorepo.run("version", "--notes", "NOTES.md")
    assert done.code == 0, done.err
    assert "core     minor  1.0.0  → 1.1.0  changeset" in done.out
    changed = {name: content for name, content in monorepo.tree().items() if before.get(name) != content}
    assert set(changed) == {each["path"] for each in tried.document["files"] if each["what"] != "deleted"} | {
        "NOTES.md"
    }
    assert json.loads(monorepo.text("packages/core/package.json"))["version"] == "1.1.0"
    assert 'version = "1.1.0"' in monorepo.text("api/pyproject.toml")
    assert json.loads(monorepo.text(".changeset/versions.json")) == {"billing": "0.1.0"}
    assert monorepo.text("gateway/VERSION") == "1.0.0\n"  # what it needs stays in its range
    assert "### Added\n\n- Events, end to end." in monorepo.text("api/CHANGELOG.md")
    assert "| billing | 0.1.0 | – | New |" in monorepo.text("NOTES.md")
    assert monorepo.changesets() == []
    again = monorepo.run("version")
    assert (again.code, again.out) == (0, "there is nothing to release: no changeset says so\n")


def test_a_component_left_alone_keeps_its_version(monorepo: Monorepo) -> None:
    monorepo.changeset("core: minor", summary="Events.")
    monorepo.changeset("billing: minor", summary="Bills.", name="late-letters-leave")
    done = monorepo.run("version", "--ignore", "billing", "--json")
    assert done.code == 0, done.err
    assert {each["name"] for each in done.document["releases"]} == {"core", "web"}
    assert monorepo.changesets() == ["late-letters-leave.md"]
    assert "did you mean `billing`?" in monorepo.refused("version", "--ignore", "biling", says="'biling'").err


def test_a_snapshot_is_never_the_next_version(monorepo: Monorepo) -> None:
    monorepo.changeset("core: minor", summary="Events.")
    done = monorepo.run("version", "--snapshot", "canary")
    assert done.code == 0, done.err
    version = json.loads(monorepo.text("packages/core/package.json"))["version"]
    assert re.fullmatch(r"0\.0\.0-canary-\d{14}", version)
    assert json.loads(monorepo.text("packages/web/package.json"))["dependencies"] == {"@shop/core": version}


def test_prereleases_until_pre_mode_ends(monorepo: Monorepo) -> None:
    entered = monorepo.run("change", "pre", "enter", "rc", "--json")
    assert entered.code == 0, entered.err
    holds("WrittenObject", entered.document)
    assert monorepo.refused("change", "pre", "enter", "rc", says="on already")
    versions = []
    for number, summary in enumerate(("Events.", "More events.")):
        monorepo.changeset("core: minor", "api: minor", summary=summary, name=f"calm-canary-{number}")
        assert monorepo.run("version").code == 0
        versions.append(json.loads(monorepo.text("packages/core/package.json"))["version"])
    assert versions == ["1.1.0-rc.0", "1.1.0-rc.1"]
    assert 'version = "1.1.0rc1"' in monorepo.text("api/pyproject.toml")
    assert monorepo.run("change", "pre", "exit").code == 0
    assert monorepo.run("version").code == 0
    assert json.loads(monorepo.text("packages/core/package.json"))["version"] == "1.1.0"
    assert monorepo.refused("change", "pre", "exit", says="not on")


@pytest.mark.parametrize("file", ["api/pyproject.toml", "crossfade.yaml"])
def test_a_version_that_was_killed_is_finished_by_the_next(monorepo: Monorepo, file: str) -> None:
    """The kill tears a file in half, so that nothing can be read from it."""
    monorepo.changeset("api: major", summary="Another shape.")
    monorepo.write({"api/pyproject.toml": '[project]\nname = "shop-api"\nversion = "0.9.0"\n'})
    monorepo.write({"crossfade.yaml": CONFIG.replace("needs: {api: ^1.0.0}", "needs: {api: ^0.9.0}")})
    other = Monorepo(_beside(monorepo.folder), {name: content.decode() for name, content in monorepo.tree().items()})
    assert other.run("version").code == 0
    killed = monorepo.run("version", script=KILLED.format(file=file))
    assert killed.code == -9
    for arguments in (("version", "--dry-run"), ("change", "status")):
        assert "run `crossfade version` to finish it" in monorepo.refused(*arguments, says="was cut short").err
    resumed = monorepo.run("version")
    assert resumed.code == 0, resumed.err
    assert "an earlier run was cut short" in resumed.err
    assert monorepo.tree() == other.tree()


def _beside(folder: Path) -> Path:
    other = folder.with_name(f"{folder.name}-whole")
    other.mkdir()
    return other


def test_pre_mode_finishes_what_was_killed_before_it_begins(workspace: Monorepo) -> None:
    workspace.changeset("@shop/a: minor", summary="More.")
    assert workspace.run("version", script=KILLED.format(file="package.json")).code == -9
    assert workspace.run("change", "pre", "enter", "next").code == 0
    assert json.loads(workspace.text("packages/a/package.json"))["version"] == "1.1.0"
    assert workspace.changesets() == []
    assert json.loads(workspace.text(".changeset/pre.json"))["tag"] == "next"


def test_what_was_finished_alone_is_no_failure(workspace: Monorepo) -> None:
    workspace.changeset("@shop/a: minor", summary="More.")
    assert workspace.run("version", script=KILLED.format(file="package.json")).code == -9
    assert workspace.run("version").code == 0
    assert workspace.run("version").code == 1


def test_a_breaking_change_below_one_needs_neither_guide_nor_notice(monorepo: Monorepo) -> None:
    monorepo.changeset("billing: major", summary="Another shape.")
    assert monorepo.run("version").code == 0
    assert json.loads(monorepo.text(".changeset/versions.json")) == {"billing": "0.1.0"}


def test_a_major_waits_for_its_guide_and_its_notice(monorepo: Monorepo) -> None:
    monorepo.changeset("api: major", summary="Another shape.")
    before = monorepo.tree()
    tried = monorepo.run("version", "--dry-run", "--json")
    assert (tried.code, len(tried.document["lacking"])) == (0, 1), tried.err
    refused = monorepo.run("version", "--json")
    assert (refused.code, refused.document["error"]["code"]) == (2, "majors.not-ready")
    told = monorepo.refused("version", says="there is no migration guide docs/migrations/api-v2.md").err
    assert "its users were not told" in told
    assert monorepo.tree() == before

    (advised,) = re.findall(r"`crossfade (change notice api 2)`", told)
    noted = monorepo.run(*advised.split(), "--how", "a mail to all", "--json")
    assert noted.code == 0, noted.err
    holds("WrittenObject", noted.document)
    monorepo.write({"docs/migrations/api-v2.md": "# From 1 to 2\n\nCall `events` in place of `log`.\n"})
    early = monorepo.refused("version", says="a notice must be 14d old: it can go from").err
    assert "there is no migration guide" not in early
    assert (
        "told about version 2"
        in monorepo.refused("change", "notice", "api", "2", "--how", "a post", says="the users of api were told").err
    )

    (path,) = noted.document["files"]
    notice = json.loads(monorepo.text(path))
    assert (notice["by"], notice["how"]) == ("ada", "a mail to all")
    notice["sent"] = (datetime.now(UTC) - timedelta(days=15)).strftime("%Y-%m-%dT%H:%M:%SZ")
    monorepo.write({path: json.dumps(notice)})
    notes = monorepo.run("notes").out
    assert "Another shape." in notes
    assert "docs/migrations/api-v2.md" in notes
    gone = monorepo.run("version")
    assert gone.code == 0, gone.err
    assert 'version = "2.0.0"' in monorepo.text("api/pyproject.toml")
    assert "needs: {api: ^2.0.0}" in monorepo.text("crossfade.yaml")
    assert monorepo.text("gateway/VERSION") == "1.0.1\n"


def test_notes_by_a_template_of_ones_own(monorepo: Monorepo) -> None:
    monorepo.changeset("core: minor", summary="Events.")
    monorepo.changeset("api: patch", summary="A race.", name="old-owls-nod")
    before = monorepo.tree()
    usual = monorepo.run("notes", "--title", "The autumn release")
    assert usual.code == 0, usual.err
    assert usual.out.startswith("# The autumn release\n")
    assert "- **api**: A race." in usual.out
    assert "production" in usual.out
    document = monorepo.run("notes", "--json").document
    holds("NotesObject", document)
    assert monorepo.tree() == before
    monorepo.write({
        "own.md.j2": '{% extends "default" %}\n{% block fixes %}\n## What works again\n\n{{ fixes[0].text }}\n{% endblock %}\n',
        "bad.md.j2": "# Notes\n\n{{ componets }}\n",
    })  # fmt: skip
    assert "## What works again\n\nA race." in monorepo.run("notes", "--template", "own.md.j2").out
    fault = monorepo.refused("notes", "--template", "bad.md.j2", says="componets", where="bad.md.j2:3")
    assert "did you mean `components`?" in fault.err
    monorepo.refused("notes", "--template", "none.j2", says="the template cannot be read")
    monorepo.refused("version", "--notes", "no/such/folder/NOTES.md", says="the notes cannot be written")


def test_what_works_together_is_read_at_the_tags(monorepo: Monorepo) -> None:
    assert monorepo.run("compatibility").out == "no release that git has a tag of needs another one\n"
    for name in ("@shop/core@1.0.0", "api@1.0.0", "gateway@1.0.0", "web@1.0.0"):
        monorepo.git("tag", "-a", "-m", name, name)
    monorepo.changeset("core: minor", "api: minor", summary="Events.")
    assert monorepo.run("version").code == 0
    monorepo.commit("release")
    for name in ("@shop/core@1.1.0", "api@1.1.0", "web@1.0.1"):
        monorepo.git("tag", "-a", "-m", name, name)
    told = monorepo.run("compatibility", "--json")
    assert told.code == 0, told.err
    holds("CompatibilityObject", told.document)
    assert told.document["untold"] == []
    matrix = told.document["matrix"]
    assert matrix["gateway"]["1.0.0"] == {"api": {"ranges": ["^1.0.0"], "versions": ["1.1.0", "1.0.0"]}}
    assert matrix["web"]["1.0.1"]["core"]["versions"] == ["1.1.0"]
    table = monorepo.run("compatibility").out
    assert "| gateway | api |\n| --- | --- |\n| 1.0.0 | 1.0.0 – 1.1.0 |" in table


def test_a_workspace_of_changesets_alone(workspace: Monorepo) -> None:
    """No crossfade.yaml: every command works on what is there, also from a folder below."""
    none = workspace.run("version")
    assert (none.code, none.out) == (1, "there is nothing to release: no changeset says so\n")
    workspace.git("tag", "-a", "-m", "b@1.0.0", "b@1.0.0")
    workspace.git("tag", "-a", "-m", "@shop/a@1.0.0", "@shop/a@1.0.0")
    assert (
        "did you mean `@shop/a`?"
        in workspace.refused("change", "add", "--minor", "@shop/aa", "-m", "x", says="no package").err
    )
    workspace.write({"packages/a/index.js": "\n"})
    workspace.commit("feat: more")
    drafted = workspace.run("change", "draft", "--write", where="packages/b")
    assert drafted.code == 0, drafted.err
    (name,) = workspace.changesets()
    assert workspace.text(f".changeset/{name}") == '---\n"@shop/a": minor\n---\n\nMore\n'
    workspace.commit("a changeset")
    sha = workspace.git("log", "-1", "--format=%h", "--abbrev=7").strip()
    done = workspace.run("version", where="packages/b")
    assert done.code == 0, done.err
    changelog = f"# @shop/a\n\n## 1.1.0\n\n### Minor Changes\n\n- {sha}: More\n"
    assert workspace.text("packages/a/CHANGELOG.md") == changelog
    assert json.loads(workspace.text("packages/b/package.json"))["version"] == "1.0.0"
    works = workspace.run("compatibility", "--json").document["matrix"]
    assert works == {"b": {"1.0.0": {"@shop/a": {"ranges": ["^1.0.0"], "versions": ["1.0.0"]}}}}
    workspace.refused("notes", says="release notes need a crossfade.yaml")


def test_a_release_commit_takes_its_changelogs(monorepo: Monorepo) -> None:
    monorepo.write({".changeset/config.json": '{"commit": true}\n'})
    monorepo.changeset("core: minor", summary="Events.")
    monorepo.commit("events")
    done = monorepo.run("version")
    assert done.code == 0, done.err
    assert "and committed" in done.out
    assert monorepo.git("status", "--porcelain") == ""
    assert "packages/core/CHANGELOG.md" in monorepo.git("show", "--name-only", "--format=", "HEAD")
