"""Image tags: the table that teams write on their wall, what is immutable, and that nothing moves back."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.artifacts.image_tags import choose, image_tags, schemes_of, version_in
from crossfade.config.model import Environment
from crossfade.config.publishing import OciRegistry
from crossfade.core.errors import BadInputError
from crossfade.core.semver import SemVer, parse_version

SHA = "a1b2c3d"
REGISTRY = OciRegistry(url="http://127.0.0.1:5000")
STAGING = Environment(image_tags=("v{version}", "{branch}-{sha}", "staging"))
DEVELOPMENT = Environment(image_tags=("{branch}-{sha}", "dev"))


def tags_of(version, branch="main", environment=None):
    parsed = parse_version(version)
    schemes = schemes_of(
        REGISTRY.tags, REGISTRY.prerelease_tags, parsed, image_tags=environment.image_tags if environment else ()
    )
    return image_tags(schemes, parsed, SHA, branch)


def named(tags):
    return {tag.name for tag in tags}


@pytest.mark.parametrize(
    ("version", "branch", "environment", "immutable", "floating"),
    [
        ("1.0.0", "main", None, ["v1.0.0", "1.0.0-a1b2c3d"], ["1.0", "latest"]),
        ("1.1.0-rc.1", "main", STAGING, ["v1.1.0-rc.1", "main-a1b2c3d"], ["staging"]),
        ("1.1.0", "develop", DEVELOPMENT, ["develop-a1b2c3d"], ["dev"]),
        ("2.0.0-beta.1", "main", None, ["v2.0.0-beta.1"], []),
    ],
)
def test_each_environment_has_its_tags(version, branch, environment, immutable, floating):
    tags = tags_of(version, branch, environment)
    assert [tag.name for tag in tags if not tag.floats] == immutable
    assert [tag.name for tag in tags if tag.floats] == floating
    assert [tag.name for tag in tags] == [*immutable, *floating]


def test_floating_tags_move_forward_and_never_back():
    tags = tags_of("1.0.5")
    now = {"1.0": parse_version("1.0.4"), "latest": parse_version("1.1.0")}
    moves = choose(tags, parse_version("1.0.5"), now)
    assert moves.to_set == ("v1.0.5", "1.0.5-a1b2c3d", "1.0")
    assert list(moves.kept) == ["latest"]
    assert "1.1.0" in moves.kept["latest"]


def test_a_tag_that_leads_to_the_same_version_or_to_something_unknown_is_set():
    version = parse_version("1.0.0")
    everywhere = {"1.0": version, "latest": None}
    assert set(choose(tags_of("1.0.0"), version, everywhere).to_set) == named(tags_of("1.0.0"))


def test_two_builds_of_one_version_are_neither_older_nor_newer():
    tags = tags_of("1.0.0+b")
    assert "latest" in choose(tags, parse_version("1.0.0+b"), {"latest": parse_version("1.0.0+a")}).to_set


def test_an_environment_gives_no_prerelease_a_tag_that_promises_a_release():
    schemes = ("v{version}", "{major}", "{major}.{minor}", "latest", "production")
    version = parse_version("1.1.0-rc.1")
    tags = image_tags(schemes, version, SHA, "main")
    moves = choose(tags, version, {}, of_environment=True)
    assert moves.to_set == ("v1.1.0-rc.1", "production")
    assert set(moves.kept) == {"1", "1.1", "latest"}
    assert not choose(tags, version, {}).kept  # a registry's `prerelease_tags` say it on purpose


def test_build_metadata_can_be_read_back():
    [tag] = image_tags(("v{version}",), parse_version("1.0.0-beta.1+build.123"), SHA, "main")
    assert tag.name == "v1.0.0-beta.1_build.123"
    assert version_in(tag.name) == parse_version("1.0.0-beta.1+build.123")


@pytest.mark.parametrize(
    ("branch", "tag"),
    [
        ("feature/image-tags", "feature-image-tags"),
        ("größe#7", "gr-e-7"),
        (".hidden", "hidden"),
        ("release_1.x", "release_1.x"),
        ("b" * 200, "b" * 128),
    ],
)
def test_a_branch_becomes_part_of_a_tag(branch, tag):
    assert named(image_tags(("{branch}",), SemVer(1, 0, 0), SHA, branch)) == {tag}


def test_a_long_branch_leaves_room_for_the_commit():
    [tag] = image_tags(("{branch}-{sha}",), SemVer(1, 0, 0), SHA, "b" * 200)
    assert len(tag.name) == 128
    assert tag.name.endswith(f"b-{SHA}")


@pytest.mark.parametrize(
    ("scheme", "sha", "branch", "code", "hint"),
    [
        ("{versoin}", SHA, "main", "image-tags.unknown-word", "version"),
        ("{version", SHA, "main", "image-tags.bad-scheme", "scheme"),
        ("{version}-{sha}", "", "main", "image-tags.no-commit", "commit"),
        ("{sha}", "HEAD", "main", "image-tags.no-commit", "commit"),
        ("{branch}", SHA, "", "image-tags.no-branch", "branch"),
        ("my app", SHA, "main", "image-tags.bad-name", "scheme"),
        ("-{version}", SHA, "main", "image-tags.bad-name", "scheme"),
        ("v{version}" + "x" * 128, SHA, "main", "image-tags.bad-name", "scheme"),
    ],
)
def test_a_scheme_that_makes_no_tag_is_refused(scheme, sha, branch, code, hint):
    with pytest.raises(BadInputError) as caught:
        image_tags((scheme,), SemVer(1, 0, 0), sha, branch)
    assert caught.value.code == code
    assert hint in caught.value.next


def test_the_same_name_is_made_once():
    tags = image_tags(("v{version}", "v1.0.0", "v{version}"), SemVer(1, 0, 0), SHA, "main")
    assert [(tag.name, tag.floats) for tag in tags] == [("v1.0.0", False)]


numbers = st.integers(0, 99)
versions = st.builds(
    SemVer,
    *[numbers] * 3,
    st.sampled_from([(), ("rc", "1"), ("alpha",)]),
    st.sampled_from([(), ("build", "7"), ("a-b",)]),
)


@given(
    versions,
    st.text(st.characters(codec="ascii"), min_size=1, max_size=200),
    st.text("0123456789abcdef", min_size=7, max_size=40),
)
def test_every_tag_is_legal_and_every_version_can_be_read_back(version, branch, sha):
    tags = image_tags((*REGISTRY.tags, "x{branch}", "{branch}-{sha}x", "b.{branch}-{sha}"), version, sha, f"b{branch}")
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", tag.name) for tag in tags)
    assert version_in(next(tag.name for tag in tags if tag.scheme == "v{version}")) == version


@given(st.lists(versions, min_size=1, max_size=8))
def test_after_any_order_of_releases_a_floating_tag_leads_to_the_newest(order):
    leads_to = {}
    for version in order:
        for name in choose(tags := tags_of(str(version)), version, leads_to).to_set:
            leads_to[name] = version
        assert all(name in leads_to for name in named(tags))
    newest = max((v for v in order if not v.prerelease), default=None, key=lambda v: v.precedence)
    assert (leads_to["latest"].precedence if newest else None) == (newest.precedence if newest else None)
