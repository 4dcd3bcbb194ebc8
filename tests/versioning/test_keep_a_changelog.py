"""Changelogs in sections: what a changeset says, how a release is written, and that a file keeps all that it had."""

import re
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crossfade.core.errors import BadInputError
from crossfade.versioning.keep_a_changelog import (
    Release,
    changelog_edits,
    insert_release,
    read_releases,
    release_of,
)
from crossfade.versioning.package_json import ECOSYSTEMS
from crossfade.versioning.planning import plan
from crossfade.versioning.sections import SECTIONS, Entry, by_section, entries_of
from crossfade.versioning.values import Bump, Change, Changeset, Dependency, Package, PlannedRelease, Rules

GUIDE = """\
## [1.0.0] - 2025-11-19

### Added

- Circuit breaker pattern
- Idempotency support

### Changed

- Migration to TypeORM 0.3

### Fixed

- Memory leak in cache service
- Race condition in payment processing

### Security

- Updated npm dependencies

### Deployment Notes

- Database migration: npm run migration:run
- Breaking: API v1 endpoint deprecated
- Rollback: Use v0.9.5 image tag
"""

OLDER = """\
# Changelog

Words of our own.

## [Unreleased]

### Added

- not yet

```
## [9.9.9] - 2030-01-01
```

## [0.9.5] - 2025-11-10

### Fixed

- something

## [0.9.0] - 2025-10-15

[Unreleased]: https://example.org/shop/compare/v0.9.5...HEAD
[0.9.5]: https://example.org/shop/compare/v0.9.0...v0.9.5
[0.9.0]: https://example.org/shop/releases/tag/v0.9.0
"""


def release(version="1.0.0", *entries):
    return Release(version, "2025-11-19", entries or (Entry("Added", "circuit breaker"),))


def sections(summary, bump):
    return [(entry.section, entry.text, entry.breaking) for entry in entries_of(summary, bump)]


@pytest.mark.parametrize(
    ("summary", "bump", "expected"),
    [
        ("a feature", Bump.MINOR, [("Added", "a feature", False)]),
        ("a repair", Bump.PATCH, [("Fixed", "a repair", False)]),
        ("a break", Bump.MAJOR, [("Changed", "a break", True)]),
        ("fixed: a leak", Bump.MINOR, [("Fixed", "a leak", False)]),
        ("Security: new TLS", Bump.PATCH, [("Security", "new TLS", False)]),
        ("fix(security): new TLS", Bump.PATCH, [("Security", "new TLS", False)]),
        ("feat(cart)!: another shape", Bump.MINOR, [("Added", "another shape", True)]),
        ("perf: twice as fast", Bump.PATCH, [("Changed", "twice as fast", False)]),
        ("deprecated: v1", Bump.MINOR, [("Deprecated", "v1", False)]),
        ("removed: v1", Bump.MAJOR, [("Removed", "v1", True)]),
        ("breaking: v1 is gone", Bump.MINOR, [("Changed", "v1 is gone", True)]),
        ("deployment: migrate first", Bump.PATCH, [("Deployment Notes", "migrate first", False)]),
        ("Note: this is text", Bump.PATCH, [("Fixed", "Note: this is text", False)]),
        ("fixed:no space", Bump.MINOR, [("Added", "fixed:no space", False)]),
        ("- one\n- fixed: two\n  goes on", Bump.MINOR, [("Added", "one", False), ("Fixed", "two\ngoes on", False)]),
        ("Events\n- one\n- two", Bump.MINOR, [("Added", "Events\n- one\n- two", False)]),
        ("```\n### Fixed\n```", Bump.MINOR, [("Added", "```\n### Fixed\n```", False)]),
        ("Lead\n\n### Why\n\nBecause", Bump.MINOR, [("Added", "Lead\n\n### Why\n\nBecause", False)]),
        ("", Bump.MINOR, []),
        ("\n\n", Bump.MAJOR, []),
    ],
)
def test_a_changeset_says_its_section(summary, bump, expected):
    assert sections(summary, bump) == expected


def test_headings_sort_a_long_changeset():
    summary = "A new cart.\n\n### Fixed\n\n- a leak\n- a race\n\n### deployment notes\n\nMigrate first.\n"
    assert sections(summary, Bump.MINOR) == [
        ("Added", "A new cart.", False),
        ("Fixed", "a leak", False),
        ("Fixed", "a race", False),
        ("Deployment Notes", "Migrate first.", False),
    ]


@pytest.mark.parametrize(
    ("summary", "breaking"),
    [
        ("### Breaking Changes\n- v1 is gone\n### Added\n- v2", {"v1 is gone"}),
        ("v1 is gone\n### Added\n- v2", {"v1 is gone"}),
        ("### Removed\n- v1\n### Added\n- v2\n### Deployment Notes\n- migrate", {"v1"}),
        ("### Fixed\n- a leak\n### Deployment Notes\n- migrate", {"a leak"}),
    ],
)
def test_what_of_a_major_changeset_is_breaking(summary, breaking):
    assert {entry.text for entry in entries_of(summary, Bump.MAJOR) if entry.breaking} == breaking


def test_the_guides_release_comes_out():
    entries = []
    for block in GUIDE.split("\n### ")[1:]:
        heading, _, items = block.partition("\n")
        entries += [Entry(heading, item) for item in items.strip().removeprefix("- ").split("\n- ")]
    assert Release("1.0.0", "2025-11-19", tuple(entries)).as_text() == GUIDE
    assert read_releases(GUIDE) == (Release("1.0.0", "2025-11-19", tuple(entries)),)


def test_a_release_gathers_its_changesets():
    changesets = {
        each.id: each
        for each in (
            Changeset("a", (Change("api", Bump.MINOR), Change("web", Bump.NONE)), "a cart"),
            Changeset("b", (Change("api", Bump.PATCH),), "removed: nothing\n"),
            Changeset("c", (Change("api", Bump.MAJOR),), "v1 is gone"),
        )
    }
    planned = PlannedRelease("api", "0.1.0", "0.2.0", Bump.MINOR, ("a", "b", "c"))
    made = release_of(planned, changesets, "2025-11-19", updated=[("core", "1.2.0")])
    assert made.as_text() == (
        "## [0.2.0] - 2025-11-19\n\n### Added\n\n- a cart\n\n"
        "### Changed\n\n- **Breaking:** v1 is gone\n- Updated dependencies: core 1.2.0\n\n### Removed\n\n- nothing\n"
    )
    web = release_of(
        PlannedRelease("web", "1.0.0", "1.0.1", Bump.PATCH, ("a",), "fixed with api"), changesets, "2025-11-19"
    )
    assert web.entries == (Entry("Changed", "No change of its own (fixed with api)."),)


def test_a_release_is_inserted_below_what_is_unreleased():
    text = insert_release(OLDER, release(), name="shop")
    head, _, rest = OLDER.partition("## [0.9.5]")
    expected = head + release().as_text() + "\n## [0.9.5]" + rest
    expected = expected.replace(
        "v0.9.5...HEAD\n", "v1.0.0...HEAD\n[1.0.0]: https://example.org/shop/compare/v0.9.5...v1.0.0\n"
    )
    assert text == expected
    assert [each.version for each in read_releases(text)] == ["1.0.0", "0.9.5", "0.9.0"]


@pytest.mark.parametrize(
    ("older", "link"),
    [
        ("[0.9.5]: https://example.org/compare/v0.9.0...v0.9.5", "https://example.org/compare/v0.9.5...v1.0.0"),
        ("[0.9.5]: https://example.org/releases/tag/v0.9.5", "https://example.org/releases/tag/v1.0.0"),
        (
            "[0.9.5]: https://example.org/-/compare/api@0.9.0..api@0.9.5",
            "https://example.org/-/compare/api@0.9.5..api@1.0.0",
        ),
        ("[v0.9.5]: https://example.org/tag/0.9.5", "https://example.org/tag/1.0.0"),
        ("[unreleased]: https://example.org/compare/abc123...HEAD", "https://example.org/compare/abc123...shop@1.0.0"),
    ],
)
def test_links_are_made_like_the_older_ones(older, link):
    text = insert_release(f"# Log\n\n## 0.9.5\n\n- x\n\n{older}\n", release(), name="shop", tag="shop@1.0.0")
    assert f"[1.0.0]: {link}\n" in text
    assert text.count("]: ") == (2 if "tag" in older or "compare" in older else 1)


@pytest.mark.parametrize(
    "older", ["", "[0.9.5]: https://example.org/old-notes.html\n", "[docs]: https://example.org\n"]
)
def test_no_link_is_guessed(older):
    text = f"# Log\n\n## 0.9.5\n\n- x\n\n{older}"
    assert "[1.0.0]:" not in insert_release(text, release(), name="shop", tag="shop@1.0.0")


KEPT = {
    "another tool's": "# @shop/api\n\n## 0.9.5\n\n### Patch Changes\n\n- abc1234: something\n",
    "windows": OLDER.replace("\n", "\r\n"),
    "no newline at the end": "# Log\n\n## 0.9.5\n\n- x",
    "title only": "# Log\n",
    "title without newline": "# Log",
    "nothing above": "## 0.9.5\n- x\n",
    "byte order mark": "\ufeff## 0.9.5\n\n- x\n",
    "top level": "# 0.9.5\n\n- x\n\n# 0.9.0\n",
    "underlined": "Log\n===\n\n0.9.5 / 2025-11-10\n------------------\n\n- x\n",
    "unreleased alone": "# Log\n\n## [Unreleased]\n\n- x\n\n[Unreleased]: https://example.org/commits\n",
    "several empty lines": "# Log\n\n\n\n## 0.9.5\n\n\n- x\n\n\n",
    "a comment": "# Log\n\n<!--\n## 0.0.1\n-->\n\n## 0.9.5\n",
    "tildes": "# Log\n\n~~~md\n## 0.0.1\n```\n~~~\n\n## 0.9.5\n",
    "prose": "We had no headings.\n",
}


def inserted_into(text, made):
    """All that may have been put into `text` to make `made` of it, without empty lines around it."""
    added = len(made) - len(text)
    cuts = (n for n in range(len(text) + 1) if made.startswith(text[:n]) and made.endswith(text[n:]))
    return {made[n : n + added].replace("\r\n", "\n").strip("\n") for n in cuts}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_all_else_stays_byte_for_byte(text):
    made = insert_release(text, release(), name="shop")
    if "[0.9.5]: " not in text:
        block = release().as_text(1 if text.startswith("# 0") else 2).strip("\n")
        assert block in inserted_into(text, made)
    assert insert_release(made, release(), name="shop") == made, "a second time changes nothing"
    assert read_releases(made)[0] == release()
    assert made.count("\r") == (made.count("\n") if "\r" in text else 0)
    outside = [each for each in read_releases(made)[1:] if each.version in {"0.0.1", "9.9.9"}]
    assert not outside


def test_releases_stack_up_newest_first():
    text = None
    for version in ("1.0.0", "1.1.0-rc.1", "1.1.0"):
        text = insert_release(text, release(version), name="shop")
    assert [each.version for each in read_releases(text)] == ["1.1.0", "1.1.0-rc.1", "1.0.0"]
    assert text.count("# Changelog") == 1


def test_the_same_version_with_other_words_is_refused():
    text = insert_release(OLDER, release(), name="shop")
    with pytest.raises(BadInputError) as caught:
        insert_release(text, release("1.0.0", Entry("Fixed", "else")), name="shop", where="packages/shop/CHANGELOG.md")
    assert caught.value.code == "changelog.exists"
    assert caught.value.where == f"packages/shop/CHANGELOG.md:{text[: text.index('## [1.0.0]')].count(chr(10)) + 1}"


def test_on_another_day_the_same_release_is_the_same():
    text = insert_release(None, release(), name="shop")
    assert insert_release(text, Release("1.0.0", "2025-11-20", release().entries), name="shop") == text


def test_a_merge_is_ended_first():
    with pytest.raises(BadInputError) as caught:
        insert_release("# Log\n\n<<<<<<< HEAD\n## 0.9.5\n=======\n>>>>>>> other\n", release(), name="shop")
    assert (caught.value.code, caught.value.where) == ("changelog.conflict", "CHANGELOG.md:3")


def the_plan():
    """core is repaired and js is released because of it; docs depends on core for its own tests alone."""
    packages = [
        Package("core", "1.0.0", "packages/core", "packages/core/package.json"),
        Package("js", "2.0.0", "packages/js", "packages/js/package.json", dependencies=(Dependency("core", "^1.0.0"),)),
        Package("portal", "1.0.0", "portal", "portal/package.json"),
        Package(
            "docs", "1.0.0", "docs", "docs/package.json", dependencies=(Dependency("core", "1.0.0", "devDependencies"),)
        ),
    ]
    changesets = [
        Changeset("a", (Change("core", Bump.MAJOR),), "`open` is gone"),
        Changeset("b", (Change("docs", Bump.PATCH),), "a typo"),
    ]
    rules = Rules("crossfade", embeds={"portal": ("core",)})
    return plan(packages, changesets, None, rules), packages, rules


def test_every_release_of_a_plan_gets_its_changelog():
    made, packages, rules = the_plan()
    texts = {
        "packages/js/CHANGELOG.md": "# js\n\n## [2.0.0] - 2025-01-01\n\n[2.0.0]: https://example.org/tag/js@2.0.0\n"
    }
    found = changelog_edits(
        made, packages, texts, rules, date="2025-11-19", ecosystems=ECOSYSTEMS, tags={"js": "js@2.0.1"}
    )
    new = {edit.path: edit.new for edit in found}
    assert {edit.path: edit.old for edit in found} == {path: texts.get(path) for path in new}
    assert new["packages/core/CHANGELOG.md"].endswith(
        "## [2.0.0] - 2025-11-19\n\n### Changed\n\n- **Breaking:** `open` is gone\n"
    )
    assert (
        "## [2.0.1] - 2025-11-19\n\n### Changed\n\n- Updated dependencies: core 2.0.0\n"
        in new["packages/js/CHANGELOG.md"]
    )
    assert "[2.0.1]: https://example.org/tag/js@2.0.1\n" in new["packages/js/CHANGELOG.md"]
    assert new["portal/CHANGELOG.md"].endswith("- Updated dependencies: core 2.0.0\n")
    assert new["docs/CHANGELOG.md"].endswith("### Fixed\n\n- a typo\n")
    again = changelog_edits(made, packages, new, rules, date="2025-11-20", ecosystems=ECOSYSTEMS)
    assert again == (), "running again, even on another day, changes nothing"


def test_a_snapshot_is_told_nobody():
    made, packages, rules = the_plan()
    assert (
        changelog_edits(replace(made, snapshot=True), packages, {}, rules, date="2025-11-19", ecosystems=ECOSYSTEMS)
        == ()
    )


def test_two_components_in_one_folder_cannot_share_a_changelog():
    packages = [Package(name, "1.0.0", "app", f"app/{name}/package.json") for name in ("one", "two")]
    made = plan(packages, [Changeset("a", (Change("one", Bump.PATCH), Change("two", Bump.PATCH)), "x")], None, Rules())
    with pytest.raises(BadInputError) as caught:
        changelog_edits(made, packages, {}, Rules(), date="2025-11-19", ecosystems=ECOSYSTEMS)
    assert (caught.value.code, caught.value.where) == ("changelog.shared", "app/CHANGELOG.md")


lines = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=12).filter(
    lambda text: text[0] not in "#-*+`~<[\ufeff" and not text.startswith("**Breaking:**")
)
texts = st.one_of(lines, st.builds("{}\n\n    {}\n- {}\n\n```\n## 1.0.0\n```\n[a]: b".format, lines, lines, lines))
entries = st.builds(Entry, st.sampled_from(SECTIONS), texts, st.booleans())


@given(st.lists(entries, min_size=1, max_size=6))
def test_what_is_written_reads_back(told):
    written = Release("1.2.3", "2025-01-02", tuple(told))
    for text in (
        written.as_text(),
        insert_release(OLDER, written, name="shop"),
        insert_release(None, written, name="shop"),
    ):
        [back] = [each for each in read_releases(text) if each.version == "1.2.3"]
        assert by_section(back.entries) == by_section(written.entries)
        assert back.date == "2025-01-02"


@given(st.text(alphabet="ab #-[]`\n\r1.0:<>!", max_size=80))
def test_any_file_keeps_all_of_its_lines(text):
    assume(not re.search("^(<<<<<<<|>>>>>>>) ", text, re.MULTILINE))
    made = insert_release(text, release(), name="shop")
    left = [line.rstrip("\r") for line in made.split("\n")]
    for line in text.split("\n"):
        if line.strip():
            assert line.rstrip("\r") in left
