"""From changesets to the files of a release, by commands alone: as processes, in repositories of git."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from monorepo import CONFIG, SHOP, WORKSPACE, Monorepo
from shapes import holds
from terminal import Terminal

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


@pytest.fixture
def shop(tmp_path: Path) -> Monorepo:
    """Components of every kind, below one crossfade.yaml."""
    return Monorepo(tmp_path, SHOP)


@pytest.fixture
def workspace(tmp_path: Path) -> Monorepo:
    """Packages and changesets; no crossfade.yaml."""
    return Monorepo(tmp_path, WORKSPACE)


def test_a_changeset_is_written_by_flags(shop: Monorepo) -> None:
    made = shop.run("change", "add", "--minor", "core", "--patch", "gateway", "-m", "Events.", "--json")
    assert made.code == 0, made.err
    holds("ChangesetObject", made.document)
    # A changeset has the package's own name, whichever of its names was said.
    assert made.document["changes"] == [{"name": "@shop/core", "bump": "minor"}, {"name": "gateway", "bump": "patch"}]
    assert shop.text(made.document["file"]) == '---\n"@shop/core": minor\n"gateway": patch\n---\n\nEvents.\n'
    empty = shop.run("change", "add", "--empty")
    assert empty.code == 0
    assert shop.text(empty.out.split()[1]) == "---\n\n---\n\n\n"
    assert len(shop.changesets()) == 2
    assert not list((shop.folder / ".changeset").glob(".*"))


def test_a_changeset_is_written_by_answers(shop: Monorepo) -> None:
    with Terminal(shop.folder, "change", "add") as terminal:
        terminal.read_until("components: core, web, api, gateway, billing")
        terminal.type("croe, web\n")
        terminal.read_until("there is no package or component 'croe'; did you mean `core`?")
        terminal.type("core, web, core\n")
        terminal.read_until("@shop/core: major, minor or patch [patch]:")
        terminal.type("huge\n")
        terminal.read_until("'huge' is no bump; write major, minor or patch")
        terminal.type("minor\n")
        terminal.read_until("web: major, minor or patch [patch]:")
        terminal.type("\n")
        terminal.read_until("What changed, for those who use it:")
        terminal.type("Events, and a page for them.\n")
        assert terminal.ends() == 0, terminal.seen
    (name,) = shop.changesets()
    text = '---\n"@shop/core": minor\n"web": patch\n---\n\nEvents, and a page for them.\n'
    assert shop.text(f".changeset/{name}") == text


def test_whoever_leaves_a_question_has_changed_nothing(shop: Monorepo) -> None:
    with Terminal(shop.folder, "change", "add") as terminal:
        terminal.read_until("Which of them changed")
        terminal.type("\x03")
        assert terminal.ends() == 130, terminal.seen
    assert "fault" not in terminal.seen
    assert shop.changesets() == []


@pytest.mark.parametrize(
    ("arguments", "says", "hint"),
    [
        (["--minor", "croe", "-m", "x"], "there is no package or component 'croe'", "did you mean `core`?"),
        (["--minor", "core", "--patch", "@shop/core", "-m", "x"], "@shop/core is named twice", "greater bump"),
        (["--minor", "core", "--empty"], "an empty changeset names no component", "drop --empty"),
        (["--minor", "core", "-m", "  "], "a changeset says what changed", "-m"),
        ([], "nobody is there to be asked", "--minor COMPONENT"),
    ],
)
def test_a_changeset_that_cannot_be_is_not_written(shop: Monorepo, arguments: list[str], says: str, hint: str) -> None:
    assert hint in shop.refused("change", "add", *arguments, says=says).err


def test_status_tells_what_changed_and_stands_in_no_changeset(shop: Monorepo) -> None:
    calm = shop.run("change", "status")
    assert (calm.code, calm.out) == (0, "nothing is about to be released\n")
    shop.git("checkout", "-q", "-b", "events")
    shop.write({"packages/core/events.js": "export {}\n", "billing/main.txt": "more\n"})
    shop.commit("events")
    shop.changeset("core: minor", summary="Events.")
    half = shop.run("change", "status", "--json")
    assert half.code == 7
    holds("CoverageObject", half.document)
    assert (half.document["changed"], half.document["lacking"]) == (["billing", "core"], ["billing"])
    assert {each["name"]: each["newVersion"] for each in half.document["releases"]} == {"core": "1.1.0", "web": "1.0.1"}
    told = shop.run("change", "status")
    assert "✗ changed, and no changeset says so: billing" in told.out
    shop.changeset(summary="", name="nobody-will-notice")
    assert shop.run("change", "status").code == 0
    # Since the last commit nothing changed but changesets, which git does not know yet.
    assert shop.run("change", "status", "--since", "HEAD", "--verbose").out == "nothing is about to be released\n"
    shop.git("add", "-A")
    verbose = shop.run("change", "status", "--since", "HEAD", "--verbose").out
    assert "  - core -> 1.1.0\n    - .changeset/calm-canary-returns.md" in verbose
    assert (
        "fetch the branch, or name another with --since"
        in shop.refused(
            "change", "status", "--since", "nowhere", says="git does not know where HEAD left 'nowhere'"
        ).err
    )


def test_status_ends_as_changesets_does_where_its_rules_hold(workspace: Monorepo) -> None:
    workspace.git("checkout", "-q", "-b", "events")
    workspace.write({"packages/a/index.js": "\n", "packages/b/index.js": "\n"})
    workspace.commit("more")
    bare = workspace.run("change", "status")
    assert bare.code == 1
    assert "no changeset says so: @shop/a, b" in bare.out
    made = workspace.run("change", "add", "--patch", "b", "-m", "Less.", where="packages/b")
    assert made.code == 0, made.err
    assert workspace.run("change", "status").code == 0  # one is enough, by these rules
    settings = "components: {b: {source: packages/b}}\nversioning: {compatibility: changesets-3}\n"
    workspace.write({"crossfade.yaml": f"project: x\n{settings}"})
    for path in (workspace.folder / ".changeset").glob("*.md"):
        path.unlink()
    assert workspace.run("change", "status").code == 1
    assert workspace.run("version").code == 1


def test_versions_of_every_kind_are_written_together(shop: Monorepo) -> None:
    shop.changeset("core: minor", "api: minor", "billing: minor", summary="Events, end to end.")
    before = shop.tree()
    tried = shop.run("version", "--dry-run", "--json")
    assert (tried.code, shop.tree()) == (0, before), tried.err
    holds("VersionObject", tried.document)
    assert {each["name"]: each["new"] for each in tried.document["releases"]} == {
        "core": "1.1.0",
        "api": "1.1.0",
        "billing": "0.1.0",
        "web": "1.0.1",
    }
    assert next(each["why"] for each in tried.document["releases"] if each["name"] == "web") == "embeds core"
    done = shop.run("version", "--notes", "NOTES.md")
    assert done.code == 0, done.err
    assert "core     minor  1.0.0  → 1.1.0  changeset" in done.out
    changed = {name: content for name, content in shop.tree().items() if before.get(name) != content}
    assert set(changed) == {each["path"] for each in tried.document["files"] if each["what"] != "deleted"} | {
        "NOTES.md"
    }
    assert json.loads(shop.text("packages/core/package.json"))["version"] == "1.1.0"
    assert 'version = "1.1.0"' in shop.text("api/pyproject.toml")
    assert json.loads(shop.text(".changeset/versions.json")) == {"billing": "0.1.0"}
    assert shop.text("gateway/VERSION") == "1.0.0\n"  # what it needs stays in its range
    assert "### Added\n\n- Events, end to end." in shop.text("api/CHANGELOG.md")
    assert "| billing | 0.1.0 | – | New |" in shop.text("NOTES.md")
    assert shop.changesets() == []
    again = shop.run("version")
    assert (again.code, again.out) == (0, "there is nothing to release: no changeset says so\n")


def test_a_component_left_alone_keeps_its_version(shop: Monorepo) -> None:
    shop.changeset("core: minor", summary="Events.")
    shop.changeset("billing: minor", summary="Bills.", name="late-letters-leave")
    done = shop.run("version", "--ignore", "billing", "--json")
    assert done.code == 0, done.err
    assert {each["name"] for each in done.document["releases"]} == {"core", "web"}
    assert shop.changesets() == ["late-letters-leave.md"]
    assert "did you mean `billing`?" in shop.refused("version", "--ignore", "biling", says="'biling'").err


def test_a_snapshot_is_never_the_next_version(shop: Monorepo) -> None:
    shop.changeset("core: minor", summary="Events.")
    done = shop.run("version", "--snapshot", "canary")
    assert done.code == 0, done.err
    version = json.loads(shop.text("packages/core/package.json"))["version"]
    assert re.fullmatch(r"0\.0\.0-canary-\d{14}", version)
    assert json.loads(shop.text("packages/web/package.json"))["dependencies"] == {"@shop/core": version}


def test_prereleases_until_pre_mode_ends(shop: Monorepo) -> None:
    entered = shop.run("change", "pre", "enter", "rc", "--json")
    assert entered.code == 0, entered.err
    holds("WrittenObject", entered.document)
    assert shop.refused("change", "pre", "enter", "rc", says="on already")
    versions = []
    for number, summary in enumerate(("Events.", "More events.")):
        shop.changeset("core: minor", "api: minor", summary=summary, name=f"calm-canary-{number}")
        assert shop.run("version").code == 0
        versions.append(json.loads(shop.text("packages/core/package.json"))["version"])
    assert versions == ["1.1.0-rc.0", "1.1.0-rc.1"]
    assert 'version = "1.1.0rc1"' in shop.text("api/pyproject.toml")
    assert shop.run("change", "pre", "exit").code == 0
    assert shop.run("version").code == 0
    assert json.loads(shop.text("packages/core/package.json"))["version"] == "1.1.0"
    assert shop.refused("change", "pre", "exit", says="not on")


@pytest.mark.parametrize("file", ["api/pyproject.toml", "crossfade.yaml"])
def test_a_version_that_was_killed_is_finished_by_the_next(shop: Monorepo, file: str) -> None:
    """The kill tears a file in half, so that nothing can be read from it."""
    shop.changeset("api: major", summary="Another shape.")
    shop.write({"api/pyproject.toml": '[project]\nname = "shop-api"\nversion = "0.9.0"\n'})
    shop.write({"crossfade.yaml": CONFIG.replace("needs: {api: ^1.0.0}", "needs: {api: ^0.9.0}")})
    other = Monorepo(_beside(shop.folder), {name: content.decode() for name, content in shop.tree().items()})
    assert other.run("version").code == 0
    killed = shop.run("version", script=KILLED.format(file=file))
    assert killed.code == -9
    for arguments in (("version", "--dry-run"), ("change", "status")):
        assert "run `crossfade version` to finish it" in shop.refused(*arguments, says="was cut short").err
    resumed = shop.run("version")
    assert resumed.code == 0, resumed.err
    assert "an earlier run was cut short" in resumed.err
    assert shop.tree() == other.tree()


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


def test_a_breaking_change_below_one_needs_neither_guide_nor_notice(shop: Monorepo) -> None:
    shop.changeset("billing: major", summary="Another shape.")
    assert shop.run("version").code == 0
    assert json.loads(shop.text(".changeset/versions.json")) == {"billing": "0.1.0"}


def test_a_major_waits_for_its_guide_and_its_notice(shop: Monorepo) -> None:
    shop.changeset("api: major", summary="Another shape.")
    before = shop.tree()
    tried = shop.run("version", "--dry-run", "--json")
    assert (tried.code, len(tried.document["lacking"])) == (0, 1), tried.err
    refused = shop.run("version", "--json")
    assert (refused.code, refused.document["error"]["code"]) == (2, "majors.not-ready")
    told = shop.refused("version", says="there is no migration guide docs/migrations/api-v2.md").err
    assert "its users were not told" in told
    assert shop.tree() == before

    (advised,) = re.findall(r"`crossfade (change notice api 2)`", told)
    noted = shop.run(*advised.split(), "--how", "a mail to all", "--json")
    assert noted.code == 0, noted.err
    holds("WrittenObject", noted.document)
    shop.write({"docs/migrations/api-v2.md": "# From 1 to 2\n\nCall `events` in place of `log`.\n"})
    early = shop.refused("version", says="a notice must be 14d old: it can go from").err
    assert "there is no migration guide" not in early
    assert (
        "told about version 2"
        in shop.refused("change", "notice", "api", "2", "--how", "a post", says="the users of api were told").err
    )

    (path,) = noted.document["files"]
    notice = json.loads(shop.text(path))
    assert (notice["by"], notice["how"]) == ("ada", "a mail to all")
    notice["sent"] = (datetime.now(UTC) - timedelta(days=15)).strftime("%Y-%m-%dT%H:%M:%SZ")
    shop.write({path: json.dumps(notice)})
    notes = shop.run("notes").out
    assert "Another shape." in notes
    assert "docs/migrations/api-v2.md" in notes
    gone = shop.run("version")
    assert gone.code == 0, gone.err
    assert 'version = "2.0.0"' in shop.text("api/pyproject.toml")
    assert "needs: {api: ^2.0.0}" in shop.text("crossfade.yaml")
    assert shop.text("gateway/VERSION") == "1.0.1\n"


def test_commits_draft_changesets_and_decide_nothing(shop: Monorepo) -> None:
    for path, message in (
        ("api/a.py", "feat(api): idempotency keys"),
        ("packages/core/b.js", "fix: a leak in the cache"),
        ("packages/core/c.js", "fix: a race"),
        ("billing/x", "chore: tidy"),
        ("billing/y", "something"),
    ):
        shop.write({path: "\n"})
        shop.commit(message)
    before = shop.tree()
    drafts = shop.run("change", "draft", "--since", "HEAD~5", "--json")
    assert (drafts.code, shop.tree()) == (0, before), drafts.err
    holds("DraftsObject", drafts.document)
    told = [(each["changes"], each["summary"]) for each in drafts.document["drafts"]]
    assert told == [
        ([{"name": "api", "bump": "minor"}], "Idempotency keys"),
        ([{"name": "core", "bump": "patch"}], "- A leak in the cache\n- A race"),
    ]
    assert len(drafts.document["unclear"]) == 1
    text = shop.run("change", "draft").out
    assert "write them with --write" in text
    assert "1 commit need" in text
    written = shop.run("change", "draft", "--since", "HEAD~5", "--write", "--json").document["written"]
    assert [path.removeprefix(".changeset/") for path in sorted(written)] == shop.changesets()
    assert {each["new"] for each in shop.run("version", "--dry-run", "--json").document["releases"]} == {
        "1.1.0",
        "1.0.1",
    }
    shop.commit("the drafts")
    again = shop.run("change", "draft")
    assert "suggests a changeset" in again.out
    assert "there is no commit 'nowhere'" in shop.refused("change", "draft", "--since", "nowhere", says="no commit").err


def test_notes_by_a_template_of_ones_own(shop: Monorepo) -> None:
    shop.changeset("core: minor", summary="Events.")
    shop.changeset("api: patch", summary="A race.", name="old-owls-nod")
    before = shop.tree()
    usual = shop.run("notes", "--title", "The autumn release")
    assert usual.code == 0, usual.err
    assert usual.out.startswith("# The autumn release\n")
    assert "- **api**: A race." in usual.out
    assert "production" in usual.out
    document = shop.run("notes", "--json").document
    holds("NotesObject", document)
    assert shop.tree() == before
    shop.write({
        "own.md.j2": '{% extends "default" %}\n{% block fixes %}\n## What works again\n\n{{ fixes[0].text }}\n{% endblock %}\n',
        "bad.md.j2": "# Notes\n\n{{ componets }}\n",
    })  # fmt: skip
    assert "## What works again\n\nA race." in shop.run("notes", "--template", "own.md.j2").out
    fault = shop.refused("notes", "--template", "bad.md.j2", says="componets", where="bad.md.j2:3")
    assert "did you mean `components`?" in fault.err
    shop.refused("notes", "--template", "none.j2", says="the template cannot be read")
    shop.refused("version", "--notes", "no/such/folder/NOTES.md", says="the notes cannot be written")


def test_what_works_together_is_read_at_the_tags(shop: Monorepo) -> None:
    assert shop.run("compatibility").out == "no release that git has a tag of needs another one\n"
    for name in ("@shop/core@1.0.0", "api@1.0.0", "gateway@1.0.0", "web@1.0.0"):
        shop.git("tag", "-a", "-m", name, name)
    shop.changeset("core: minor", "api: minor", summary="Events.")
    assert shop.run("version").code == 0
    shop.commit("release")
    for name in ("@shop/core@1.1.0", "api@1.1.0", "web@1.0.1"):
        shop.git("tag", "-a", "-m", name, name)
    told = shop.run("compatibility", "--json")
    assert told.code == 0, told.err
    holds("CompatibilityObject", told.document)
    assert told.document["untold"] == []
    matrix = told.document["matrix"]
    assert matrix["gateway"]["1.0.0"] == {"api": {"ranges": ["^1.0.0"], "versions": ["1.1.0", "1.0.0"]}}
    assert matrix["web"]["1.0.1"]["core"]["versions"] == ["1.1.0"]
    table = shop.run("compatibility").out
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


def test_a_release_commit_takes_its_changelogs(shop: Monorepo) -> None:
    shop.write({".changeset/config.json": '{"commit": true}\n'})
    shop.changeset("core: minor", summary="Events.")
    shop.commit("events")
    done = shop.run("version")
    assert done.code == 0, done.err
    assert "and committed" in done.out
    assert shop.git("status", "--porcelain") == ""
    assert "packages/core/CHANGELOG.md" in shop.git("show", "--name-only", "--format=", "HEAD")
