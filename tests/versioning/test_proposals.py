"""Drafts from commits: which component, how much, what cancels out, and that no commit is lost in silence."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.core.errors import BadInputError
from crossfade.versioning.commit_log import read_commits, starting_point
from crossfade.versioning.conventional import parse_message
from crossfade.versioning.keep_a_changelog import Release
from crossfade.versioning.proposals import Commit, propose
from crossfade.versioning.sections import entries_of
from crossfade.versioning.tags import USUAL, TagScheme
from crossfade.versioning.values import Bump, Change

NAVI = {
    "@awell-health/navi-core": "packages/navi-core",
    "@awell-health/navi-loader": "packages/navi-loader",
    "@awell-health/navi-js": "packages/navi-js",
}
CORE, LOADER, JS = NAVI


def commits(*told):
    """Commits with the messages and paths of `told`, oldest first; the n-th has the id nnn…."""
    return [Commit(f"{number:040x}", message, tuple(paths)) for number, (message, *paths) in enumerate(told, 1)]


def proposed(*told, folders=NAVI, grouped=True):
    return propose(commits(*told), folders, grouped=grouped)


def only(*told, **options):
    [proposal] = proposed(*told, **options).proposals
    return proposal


@pytest.mark.parametrize(
    ("message", "bump"),
    [
        ("feat: x", Bump.MINOR),
        ("Feat(a): x", Bump.MINOR),
        ("fix: x", Bump.PATCH),
        ("perf: x", Bump.PATCH),
        ("chore!: x", Bump.MAJOR),
        ("docs: x\n\nBREAKING CHANGE: y", Bump.MAJOR),
        ("fix: x\n\nbody\n\nReviewed-by: Z\nBREAKING-CHANGE: y", Bump.MAJOR),
        ("docs: x", Bump.NONE),
        ("refactor: x\n\nthis is no breaking change: at all", Bump.NONE),
        ("wibble: x", None),
    ],
)
def test_types(message, bump):
    assert parse_message(message).bump is bump


@pytest.mark.parametrize(
    "message", ["", "x", "feat", "feat:", "feat:x", "feat(): x", "feat(a: x", ": x", "1.0.0", "Merge x"]
)
def test_what_is_not_conventional(message):
    assert parse_message(message) is None


def test_the_text_of_a_break_ends_where_the_next_footer_begins():
    said = parse_message("feat: x\n\nBREAKING CHANGE: one\ntwo\n\nthree\nSigned-off-by: Ada")
    assert said.breaks == "one\ntwo\n\nthree"


@pytest.mark.parametrize(
    ("scope", "names"),
    [
        ("navi-core", [CORE]),
        ("core", [CORE]),
        ("@awell-health/navi-core", [CORE]),
        ("packages/navi-js", [JS]),
        ("core,JS", [CORE, JS]),
        ("unknown", [LOADER]),
    ],
)
def test_a_scope_names_components(scope, names):
    proposal = only((f"feat({scope}): x", "packages/navi-loader/a.js"))
    assert [change.name for change in proposal.releases] == names
    assert proposal.also == (() if scope == "unknown" else (LOADER,))


def test_files_tell_the_component_without_a_scope():
    proposal = only(
        (
            "feat: x",
            "packages/navi-core/a.ts",
            "packages/navi-js/b/c.ts",
            "README.md",
            "packages/navi-loader/CHANGELOG.md",
        )
    )
    assert proposal.releases == (Change(CORE, Bump.MINOR), Change(JS, Bump.MINOR))


def test_the_deepest_folder_counts_and_the_top_takes_the_rest():
    folders = {"shop": ".", "widget": "widgets/one", "other": "widgets/one-more"}
    touched = proposed(
        ("feat: a", "app.py"), ("feat: b", "widgets/one/x"), ("feat: c", "widgets/one-more/x"), folders=folders
    )
    assert [each.releases[0].name for each in touched.proposals] == ["shop", "widget", "other"]


def test_repairs_of_one_component_share_a_draft_and_features_do_not():
    told = [
        ("fix(core): memory leak in cache", "packages/navi-core/a"),
        ("feat(core): events", "packages/navi-core/a"),
        ("perf(core): twice as fast", "packages/navi-core/a"),
        ("feat(core): more events", "packages/navi-core/a"),
        ("fix(security,core): new TLS", "packages/navi-core/a"),
        ("fix(js): another", "packages/navi-js/a"),
    ]
    together = proposed(*told).proposals
    assert [each.summary for each in together] == [
        "- Memory leak in cache\n- changed: Twice as fast\n- security: New TLS", "Events", "More events", "Another",
    ]  # fmt: skip
    assert [each.summary for each in proposed(*told, grouped=False).proposals] == [
        "Memory leak in cache", "Events", "changed: Twice as fast", "More events", "security: New TLS", "Another",
    ]  # fmt: skip
    text = Release("1.0.0", None, entries_of(together[0].summary, Bump.PATCH)).as_text()
    assert (
        text
        == "## [1.0.0]\n\n### Changed\n\n- Twice as fast\n\n### Fixed\n\n- Memory leak in cache\n\n### Security\n\n- New TLS\n"
    )


def test_a_break_tells_what_to_do():
    proposal = only(("feat(core)!: `open` is gone\n\nWhy.\n\nBREAKING CHANGE: call `start`", "x"))
    assert proposal.summary == "`open` is gone\n\ncall `start`"
    assert proposal.releases == (Change(CORE, Bump.MAJOR),)


def test_reverts_cancel_out():
    told = proposed(
        ("feat(core): a", "x"),
        ("feat(js): b", "x"),
        (f'Revert "feat(core): a"\n\nThis reverts commit {1:040x}.', "x"),
    )
    assert [each.summary for each in told.proposals] == ["B"]
    assert [each.sha for each in told.cancelled] == [f"{1:040x}", f"{3:040x}"]


def test_a_reverted_revert_brings_the_change_back():
    told = proposed(
        ("feat(core): a", "x"),
        (f'Revert "feat(core): a"\n\nThis reverts commit {1:040x}.', "x"),
        (f'Reapply "feat(core): a"\n\nThis reverts commit {2:040x}.', "x"),
    )
    assert [each.summary for each in told.proposals] == ["A"]
    assert [each.sha for each in told.cancelled] == [f"{2:040x}", f"{3:040x}"]


@pytest.mark.parametrize(
    "revert",
    [
        'Revert "feat(core): a" (#12)',
        "revert: feat(core): a",
        f"revert: a\n\nRefs: {1:040x}",
        f'Revert "feat(core): a"\n\nThis reverts commit {f"{1:040x}"[:12]}, reversing\nwhat it did.',
    ],
)
def test_every_way_to_revert(revert):
    told = proposed(("feat(core): a", "x"), (revert, "packages/navi-core/x"))
    assert (len(told.proposals), len(told.cancelled)) == (0, 2)


def test_taking_back_what_is_released_already_is_a_change():
    proposal = only((f'Revert "feat(core): a"\n\nThis reverts commit {"f" * 40}.', "packages/navi-core/x"))
    assert proposal.releases == (Change(CORE, Bump.PATCH),)
    assert entries_of(proposal.summary, Bump.PATCH)[0][:2] == ("Changed", "Takes back: feat(core): a")


def test_amendments_join_their_commit():
    proposal = only(("feat: a", "packages/navi-core/x"), ("fixup! feat: a", "packages/navi-js/x"))
    assert [change.name for change in proposal.releases] == [CORE, JS]
    assert len(proposal.commits) == 2


def test_what_cannot_be_understood_is_listed():
    told = proposed(
        ("Fixed it", "packages/navi-core/x"), ("wibble: x", "packages/navi-core/x"), ("feat: x", "README.md"),
        ("fixup! feat: gone", "packages/navi-core/x"),
    )  # fmt: skip
    assert [each.commit.subject for each in told.unclear] == ["Fixed it", "wibble: x", "feat: x", "fixup! feat: gone"]
    assert "'wibble'" in told.unclear[1].why
    assert not told.proposals


def test_commits_with_a_changeset_are_covered():
    told = proposed(
        ("feat(core): a", "packages/navi-core/x", ".changeset/calm-canary.md"),
        ("feat(core): b", "packages/navi-core/x", ".changeset/README.md"),
        ("docs: c", "README.md"),
    )
    assert [each.summary for each in told.proposals] == ["B"]
    assert [each.subject for each in told.covered] == ["feat(core): a"]
    assert [each.subject for each in told.quiet] == ["docs: c"]


messages = st.one_of(
    st.builds(
        "{}{}: {}".format,
        st.sampled_from(["feat", "fix", "docs", "odd"]),
        st.sampled_from(["", "(core)", "(js)!"]),
        st.sampled_from("abc"),
    ),
    st.sampled_from(["text", 'Revert "feat: a"', "revert: b", "fixup! feat: a", 'Revert "Revert "feat: a""']),
    st.integers(1, 8).map(lambda n: f'Revert "x"\n\nThis reverts commit {n:040x}.'),
)


@given(
    st.lists(
        st.tuples(messages, st.sampled_from(["packages/navi-core/x", "README.md", ".changeset/x.md"])), max_size=8
    ),
    st.booleans(),
)
def test_every_commit_stands_in_exactly_one_place(told, grouped):
    found = proposed(*told, grouped=grouped)
    places = [sha for each in found.proposals for sha in each.commits]
    places += [
        each.sha for each in (*found.quiet, *found.covered, *found.cancelled, *(one.commit for one in found.unclear))
    ]
    assert sorted(places) == [f"{number:040x}" for number in range(1, len(told) + 1)]
    assert all(each.releases and each.summary for each in found.proposals)


@pytest.fixture
def history(tmp_path, monkeypatch):
    """A repository, and a function that commits files with a message and returns the commit."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")

    def run(*arguments):
        return subprocess.run(
            ["git", *arguments], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout.strip()

    run("init", "-q", "-b", "main")
    run("config", "user.name", "Ada")
    run("config", "user.email", "ada@example.org")

    def commit(message, *paths):
        for path in paths:
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(message)
        run("add", "-A")
        run("commit", "-q", "--allow-empty", "-m", message)
        return run("rev-parse", "HEAD")

    commit.root, commit.run = tmp_path, run
    return commit


def test_commits_are_read_with_whole_messages_and_odd_paths(history):
    first = history(
        "feat(core): a\n\nbody\n\nBREAKING CHANGE: b", "packages/navi-core/größe x.ts", 'packages/navi-js/"q".ts'
    )
    second = history("empty")
    read = read_commits(history.root, None)
    assert [each.sha for each in read] == [first, second]
    assert read[0].message == "feat(core): a\n\nbody\n\nBREAKING CHANGE: b"
    assert set(read[0].paths) == {"packages/navi-core/größe x.ts", 'packages/navi-js/"q".ts'}
    assert read[1].paths == ()
    assert read_commits(history.root, first)[0].sha == second
    assert read_commits(history.root, "HEAD") == ()


def test_merges_are_left_out_and_what_they_merge_is_not(history):
    history("feat: a", "a")
    history.run("checkout", "-q", "-b", "topic")
    topic = history("feat: b", "b")
    history.run("checkout", "-q", "main")
    history("feat: c", "c")
    history.run("merge", "-q", "--no-ff", "-m", "Merge topic", "topic")
    read = read_commits(history.root, None)
    assert {each.subject for each in read} == {"feat: a", "feat: b", "feat: c"}
    assert topic in {each.sha for each in read}


def test_reading_begins_at_the_last_release_or_changeset(history):
    scheme, names = TagScheme(USUAL), list(NAVI)

    def begins(commit, why):
        start = starting_point(history.root, scheme, names)
        return start.commit == commit and why in start.why

    first = history("feat: a", "a")
    assert begins(None, "first commit")
    history.run("tag", f"{CORE}@1.0.0")
    history("feat: b", "b")
    history.run("tag", "deployed-2025.11.19")
    history.run("tag", "other@1.0.0")
    assert begins(first, f"{CORE}@1.0.0")
    changed = history("docs: changeset", ".changeset/calm-canary.md", ".changeset/README.md")
    history("docs: readme", ".changeset/README.md", ".changeset/config.json")
    assert begins(changed, "last changeset")
    released = history("release", "c")
    history.run("tag", "-a", "-m", "x", f"{JS}@1.1.0-rc.1+build")
    history("feat: d", "d")
    assert begins(released, f"{JS}@1.1.0-rc.1+build")


def test_a_project_inside_a_repository_sees_its_own_folder_alone(history):
    project = history.root / "services" / "shop"
    history("feat: a", "services/shop/cart/app.py", "cart/else.py")
    history("feat: b", "services/shop/.changeset/x.md", "services/shop/cart/app.py")
    outside = history(
        "feat: c", ".changeset/y.md", "services/shop/examples/.changeset/z.md", "services/shop/cart/app.py"
    )
    scheme = TagScheme(USUAL)
    read = read_commits(project, None)
    assert read[0].paths == ("cart/app.py",)
    told = propose(read, {"cart": "cart"})
    assert [each.summary for each in told.proposals] == ["A", "C"]
    assert [each.subject for each in told.covered] == ["feat: b"]
    start = starting_point(project, scheme, ["cart"])
    assert read_commits(project, start.commit)[0].sha == outside


@pytest.mark.parametrize("name", ["nowhere", "--output=x", "", "HEAD:file"])
def test_a_name_that_git_does_not_know_is_told(history, name):
    history("feat: a", "file")
    with pytest.raises(BadInputError) as caught:
        read_commits(history.root, name)
    assert caught.value.code == "commits.unknown-ref"
    assert not (history.root / "x").exists()
