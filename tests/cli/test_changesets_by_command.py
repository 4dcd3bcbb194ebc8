"""Changesets by commands alone: written, drafted, and what stands in none; as processes, in repositories of git."""

from __future__ import annotations

import pytest
from monorepo import Monorepo
from shapes import holds
from terminal import Terminal


def test_a_changeset_is_written_by_flags(monorepo: Monorepo) -> None:
    made = monorepo.run("change", "add", "--minor", "core", "--patch", "gateway", "-m", "Events.", "--json")
    assert made.code == 0, made.err
    holds("ChangesetObject", made.document)
    # A changeset has the package's own name, whichever of its names was said.
    assert made.document["changes"] == [{"name": "@shop/core", "bump": "minor"}, {"name": "gateway", "bump": "patch"}]
    assert monorepo.text(made.document["file"]) == '---\n"@shop/core": minor\n"gateway": patch\n---\n\nEvents.\n'
    empty = monorepo.run("change", "add", "--empty")
    assert empty.code == 0
    assert monorepo.text(empty.out.split()[1]) == "---\n\n---\n\n\n"
    assert len(monorepo.changesets()) == 2
    assert not list((monorepo.folder / ".changeset").glob(".*"))


def test_a_changeset_is_written_by_answers(monorepo: Monorepo) -> None:
    with Terminal(monorepo.folder, "change", "add") as terminal:
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
    (name,) = monorepo.changesets()
    text = '---\n"@shop/core": minor\n"web": patch\n---\n\nEvents, and a page for them.\n'
    assert monorepo.text(f".changeset/{name}") == text


def test_whoever_leaves_a_question_has_changed_nothing(monorepo: Monorepo) -> None:
    with Terminal(monorepo.folder, "change", "add") as terminal:
        terminal.read_until("Which of them changed")
        terminal.type("\x03")
        assert terminal.ends() == 130, terminal.seen
    assert "fault" not in terminal.seen
    assert monorepo.changesets() == []


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
def test_a_changeset_that_cannot_be_is_not_written(
    monorepo: Monorepo, arguments: list[str], says: str, hint: str
) -> None:
    assert hint in monorepo.refused("change", "add", *arguments, says=says).err


def test_status_tells_what_changed_and_stands_in_no_changeset(monorepo: Monorepo) -> None:
    calm = monorepo.run("change", "status")
    assert (calm.code, calm.out) == (0, "nothing is about to be released\n")
    monorepo.git("checkout", "-q", "-b", "events")
    monorepo.write({"packages/core/events.js": "export {}\n", "billing/main.txt": "more\n"})
    monorepo.commit("events")
    monorepo.changeset("core: minor", summary="Events.")
    half = monorepo.run("change", "status", "--json")
    assert half.code == 7
    holds("CoverageObject", half.document)
    assert (half.document["changed"], half.document["lacking"]) == (["billing", "core"], ["billing"])
    assert {each["name"]: each["newVersion"] for each in half.document["releases"]} == {"core": "1.1.0", "web": "1.0.1"}
    told = monorepo.run("change", "status")
    assert "✗ changed, and no changeset says so: billing" in told.out
    monorepo.changeset(summary="", name="nobody-will-notice")
    assert monorepo.run("change", "status").code == 0
    # Since the last commit nothing changed but changesets, which git does not know yet.
    assert monorepo.run("change", "status", "--since", "HEAD", "--verbose").out == "nothing is about to be released\n"
    monorepo.git("add", "-A")
    verbose = monorepo.run("change", "status", "--since", "HEAD", "--verbose").out
    assert "  - core -> 1.1.0\n    - .changeset/calm-canary-returns.md" in verbose
    assert (
        "fetch the branch, or name another with --since"
        in monorepo.refused(
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


def test_commits_draft_changesets_and_decide_nothing(monorepo: Monorepo) -> None:
    for path, message in (
        ("api/a.py", "feat(api): idempotency keys"),
        ("packages/core/b.js", "fix: a leak in the cache"),
        ("packages/core/c.js", "fix: a race"),
        ("billing/x", "chore: tidy"),
        ("billing/y", "something"),
    ):
        monorepo.write({path: "\n"})
        monorepo.commit(message)
    before = monorepo.tree()
    drafts = monorepo.run("change", "draft", "--since", "HEAD~5", "--json")
    assert (drafts.code, monorepo.tree()) == (0, before), drafts.err
    holds("DraftsObject", drafts.document)
    told = [(each["changes"], each["summary"]) for each in drafts.document["drafts"]]
    assert told == [
        ([{"name": "api", "bump": "minor"}], "Idempotency keys"),
        ([{"name": "core", "bump": "patch"}], "- A leak in the cache\n- A race"),
    ]
    assert len(drafts.document["unclear"]) == 1
    text = monorepo.run("change", "draft").out
    assert "write them with --write" in text
    assert "1 commit need" in text
    written = monorepo.run("change", "draft", "--since", "HEAD~5", "--write", "--json").document["written"]
    assert [path.removeprefix(".changeset/") for path in sorted(written)] == monorepo.changesets()
    assert {each["new"] for each in monorepo.run("version", "--dry-run", "--json").document["releases"]} == {
        "1.1.0",
        "1.0.1",
    }
    monorepo.commit("the drafts")
    again = monorepo.run("change", "draft")
    assert "suggests a changeset" in again.out
    assert (
        "there is no commit 'nowhere'"
        in monorepo.refused("change", "draft", "--since", "nowhere", says="no commit").err
    )
