"""The plan beyond what the real changesets can be asked: below 1.0.0, embedding, the second version's rules, errors."""

from __future__ import annotations

import pytest

from crossfade.core.errors import BadInputError
from crossfade.versioning.edits import edits
from crossfade.versioning.package_json import Npm
from crossfade.versioning.planning import plan
from crossfade.versioning.values import (
    Bump,
    Change,
    Changeset,
    Dependency,
    DependencyKind,
    Package,
    PreState,
    ReleasePlan,
    Rules,
)

SECOND = Rules("changesets-2", version_private=True)


def package(name: str, version: str = "1.0.0", kind: DependencyKind = "dependencies", **needs: str) -> Package:
    dependencies = tuple(Dependency(needed, written, kind) for needed, written in needs.items())
    return Package(name, version, f"packages/{name}", f"packages/{name}/package.json", dependencies=dependencies)


def change(id: str, **bumps: str) -> Changeset:
    return Changeset(id, tuple(Change(name, Bump[word.upper()]) for name, word in bumps.items()), "Why.")


def versions(made: ReleasePlan) -> dict[str, str]:
    return {release.name: release.new for release in made.releases}


def test_below_one_a_breaking_change_may_be_a_minor() -> None:
    packages = [package("core", "0.4.2"), package("done", "1.4.2")]
    changesets = [change("x", core="major", done="major")]
    house = Rules("crossfade", breaking_below_one="minor")
    assert versions(plan(packages, changesets, None, house)) == {"core": "0.5.0", "done": "2.0.0"}
    assert versions(plan(packages, changesets)) == {"core": "1.0.0", "done": "2.0.0"}


def test_what_embeds_a_released_component_is_released_again_along_the_whole_chain() -> None:
    packages = [package("core"), package("portal"), package("loader"), package("js", loader="^1.0.0"), package("other")]
    rules = Rules(embeds={"portal": ("core",), "loader": ("portal",), "js": ("loader",)})
    made = plan(packages, [change("x", core="minor")], None, rules)
    assert versions(made) == {"core": "1.1.0", "portal": "1.0.1", "loader": "1.0.1", "js": "1.0.1"}
    assert [release.why for release in made.releases] == ["changeset", "embeds core", "embeds portal", "embeds loader"]
    assert versions(plan(packages, [change("x", core="none")], None, rules)) == {"core": "1.0.0"}


def test_a_cycle_is_planned_once_around() -> None:
    packages = [package("a", b="~1.0.0"), package("b", c="~1.0.0"), package("c", a="~1.0.0")]
    assert versions(plan(packages, [change("x", a="minor")])) == {"a": "1.1.0", "c": "1.0.1"}
    assert versions(plan(packages, [change("x", a="major", c="minor")])) == {"a": "2.0.0", "c": "1.1.0", "b": "1.0.1"}


def test_version_2_makes_dependents_by_peer_major() -> None:
    packages = [package("core"), package("app", "1.0.0", "peerDependencies", core="^1.0.0")]
    minor = [change("x", core="minor")]
    assert versions(plan(packages, minor, None, SECOND)) == {"core": "1.1.0", "app": "2.0.0"}
    assert versions(plan(packages, minor)) == {"core": "1.1.0"}
    assert versions(plan(packages, [change("x", core="patch")], None, SECOND)) == {"core": "1.0.1"}
    careful = Rules("changesets-2", only_update_peer_dependents_when_out_of_range=True)
    assert versions(plan(packages, minor, None, careful)) == {"core": "1.1.0"}
    assert versions(plan(packages, [change("x", core="major")], None, careful)) == {"core": "2.0.0", "app": "2.0.0"}


def test_version_2_raises_a_dependent_that_is_released_already_to_major() -> None:
    packages = [package("core"), package("app", "1.0.0", "peerDependencies", core="^1.0.0")]
    made = plan(packages, [change("x", app="patch", core="minor")], None, SECOND)
    assert versions(made) == {"app": "2.0.0", "core": "1.1.0"}


def test_version_2_counts_prereleases_from_where_pre_mode_began() -> None:
    packages = [package("core", "1.1.0-next.0")]
    pre = PreState("pre", "next", {"core": "1.0.0"}, ("first",))
    changesets = [change("first", core="minor"), change("second", core="patch")]
    made = plan(packages, changesets, pre, SECOND)
    assert versions(made) == {"core": "1.1.0-next.1"}
    assert made.pre is not None
    assert made.pre.changesets == ("first", "second")
    assert [each.id for each in made.changesets] == ["second"]
    left = plan(packages, changesets, PreState("exit", "next", {"core": "1.0.0"}, ("first", "second")), SECOND)
    assert versions(left) == {"core": "1.1.0"}


def test_version_2_leaves_changesets_where_they_are_in_pre_mode() -> None:
    packages = [package("core")]
    changesets = [change("first", core="minor")]
    pre = PreState("pre", "next", {"core": "1.0.0"}, ())
    made = plan(packages, changesets, pre, SECOND)
    texts = {
        "packages/core/package.json": '{"version": "1.0.0"}',
        ".changeset/first.md": "x",
        ".changeset/pre.json": "{}",
    }
    written = {edit.path: edit.new for edit in edits(made, packages, texts, SECOND, ecosystems={"npm": Npm()})}
    assert written.keys() == {"packages/core/package.json", "packages/core/CHANGELOG.md", ".changeset/pre.json"}
    assert '"first"' in str(written[".changeset/pre.json"])


def test_an_unknown_package_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(BadInputError) as caught:
        plan([package("core")], [change("calm", coer="minor")])
    assert (caught.value.code, caught.value.where) == ("versions.unknown-package", ".changeset/calm.md")
    assert "'core'" in caught.value.next


def test_ignored_and_other_packages_do_not_share_a_changeset() -> None:
    with pytest.raises(BadInputError) as caught:
        plan([package("a"), package("b")], [change("x", a="minor", b="minor")], None, Rules(ignore=frozenset({"b"})))
    assert caught.value.code == "versions.mixed-changeset"


def test_a_version_that_is_none_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(BadInputError, match="is not a version"):
        plan([package("a", "1.2")], [change("x", a="minor")])
    with pytest.raises(BadInputError, match="second word is no number"):
        plan([package("a", "1.2.0-next.x")], [change("x", a="minor")], PreState("pre", "next"))


@pytest.mark.parametrize("setting", ["@changesets/changelog-github", "./mine.js"])
def test_a_generator_that_cannot_run_here_is_refused_before_anything_is_written(setting: str) -> None:
    with pytest.raises(BadInputError) as caught:
        edits(ReleasePlan(), [], {}, Rules(changelog=setting))
    assert caught.value.code == "versions.foreign-program"
    assert setting in caught.value.what
