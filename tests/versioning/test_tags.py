"""Git tags of releases, on real repositories: written, read back, made once, and never moved."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.core.reference import Reference
from crossfade.core.semver import SemVer, parse_version
from crossfade.versioning.tags import (
    USUAL,
    Standing,
    Tag,
    TagScheme,
    create_tags,
    head,
    missing,
    read_remote_tags,
    read_tags,
    tags_of,
)
from crossfade.versioning.values import Package, Rules


def git(root, *arguments):
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name, value in {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}.items():
        monkeypatch.setenv(name, value)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "config", "user.name", "Ada")
    git(tmp_path, "config", "user.email", "ada@example.org")
    for number in (1, 2):
        git(tmp_path, "commit", "-q", "--allow-empty", "-m", f"commit {number}")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "single", "component", "version", "tag"),
    [
        (USUAL, False, "api", "1.0.0", "api@1.0.0"),
        (USUAL, False, "@awell-health/navi-core", "1.1.0-rc.1", "@awell-health/navi-core@1.1.0-rc.1"),
        (USUAL, True, "shop", "1.0.0-beta.1+build.123", "v1.0.0-beta.1+build.123"),
        ("release/{name}/v{version}", False, "api", "1.0.0", "release/api/v1.0.0"),
        ("v{version}-{name}", False, "api", "1.0.0-rc.1", "v1.0.0-rc.1-api"),
        ("{name}-{version}", True, "api", "2.0.0", "api-2.0.0"),
        ("{{x}}/{name}@{version}", False, "api", "1.0.0", "{x}/api@1.0.0"),
        ("{name}/{name}@{version}", False, "api", "1.0.0", "api/api@1.0.0"),
    ],
)
def test_a_tag_is_written_and_read_back(text, single, component, version, tag):
    scheme = TagScheme.of(text, single=single)
    assert scheme.write(component, parse_version(version)) == tag
    others = {component} if single else {component, "web", "ap"}
    assert scheme.read(tag, others) == Reference(component, parse_version(version))


@pytest.mark.parametrize(
    "tag", ["api", "api@1.0", "api@v1.0.0", "web@1.0.0", "v1.0.0", "xapi@1.0.0", "api@1.0.0x@", "@1.0.0", ""]
)
def test_other_tags_are_left_alone(tag):
    assert TagScheme(USUAL).read(tag, {"api"}) is None
    assert TagScheme("v{version}").read("v1.0.0", {"api", "web"}) is None


def test_a_name_that_ends_like_a_version_is_read():
    assert TagScheme("{name}-{version}").read("api-1.0.0-2.0.0", {"api-1.0.0"}) == Reference(
        "api-1.0.0", SemVer(2, 0, 0)
    )


@given(
    st.sampled_from([USUAL, "{name}-{version}", "{name}/v{version}", "v{version}-of-{name}"]),
    st.from_regex(r"(@[a-z]{1,5}/)?[a-z][a-z0-9-]{0,8}", fullmatch=True),
    st.builds(SemVer, *[st.integers(0, 20)] * 3, st.sampled_from([(), ("rc", "1")]), st.sampled_from([(), ("b", "7")])),
)
def test_every_tag_reads_back(text, name, version):
    scheme = TagScheme(text)
    assert scheme.read(scheme.write(name, version), {name}) == Reference(name, version)


@pytest.mark.parametrize(
    ("text", "single", "hint"),
    [
        ("{name}@{versoin}", False, "version"),
        ("{name}", False, "{version}"),
        ("v{version}", False, "{name}"),
        ("{name}@{version", False, "correct"),
        ("{version}{", True, "correct"),
    ],
)
def test_a_bad_scheme_is_refused(text, single, hint):
    with pytest.raises(BadInputError) as caught:
        TagScheme.of(text, single=single)
    assert caught.value.code == "tags.bad-scheme"
    assert hint in caught.value.next
    assert "versioning.tag" in caught.value.where


@pytest.mark.parametrize("name", ["a b", "-a", "a..b", "a~b", "a@{b", "a:b", ".a", "a//b", "a/.b"])
def test_git_and_we_agree_on_what_a_tag_may_be(name, repository):
    with pytest.raises(BadInputError) as caught:
        TagScheme(USUAL).write(name, "1.0.0")
    assert caught.value.code == "tags.bad-name"
    refused = subprocess.run(["git", "tag", f"{name}@1.0.0"], cwd=repository, capture_output=True, check=False)
    assert refused.returncode != 0


def test_what_is_to_be_tagged():
    packages = [
        Package("api", "1.0.0"),
        Package("site", "2.0.0", private=True),
        Package("old", "3.0.0"),
        Package("none", ""),
    ]
    rules = Rules(version_private=True, tag_private=True, ignore=frozenset({"old"}))
    tags = tags_of(packages, rules, TagScheme(USUAL), "a" * 40)
    assert [tag.name for tag in tags] == ["api@1.0.0", "site@2.0.0"]
    assert [tag.name for tag in tags_of(packages, Rules(), TagScheme(USUAL), "a" * 40)] == ["api@1.0.0", "old@3.0.0"]


def test_annotated_tags_are_made_once(repository):
    wanted = [
        Tag(f"{name}@1.0.0", head(repository), f"Release {name} 1.0.0\n\n# not a comment")
        for name in ("api", "@shop/web")
    ]
    assert create_tags(repository, wanted) == tuple(wanted)
    first = git(repository, "for-each-ref", "--format=%(objectname)", "refs/tags")
    assert create_tags(repository, wanted) == ()
    assert git(repository, "for-each-ref", "--format=%(objectname)", "refs/tags") == first
    there = read_tags(repository)
    assert set(there) == {"api@1.0.0", "@shop/web@1.0.0"}
    assert all(tag.annotated and tag.commit == head(repository) for tag in there.values())
    assert git(repository, "tag", "-l", "--format=%(contents)", "api@1.0.0") == wanted[0].message


def test_a_clone_without_tags_asks_where_it_came_from(repository, tmp_path_factory):
    git(repository, "tag", "plain")
    create_tags(repository, [Tag("@shop/web@1.0.0", git(repository, "rev-parse", "HEAD~1"), "x")])
    clone = tmp_path_factory.mktemp("clone")
    git(clone, "clone", "-q", "--no-tags", "--depth=1", f"file://{repository}", ".")
    assert read_tags(clone) == {}
    assert read_remote_tags(clone) == read_tags(repository)
    with pytest.raises(BadInputError):
        missing([Tag("@shop/web@1.0.0", head(clone), "x")], read_remote_tags(clone))
    for nowhere in (str(clone / "nothing"), "--upload-pack=x"):
        with pytest.raises(UnreachableError) as caught:
            read_remote_tags(clone, nowhere)
        assert caught.value.code == "tags.no-remote"


def test_what_a_crash_left_out_is_made_by_the_next_call(repository):
    one, other = (Tag(name, head(repository), name) for name in ("api@1.0.0", "web@1.0.0"))
    create_tags(repository, [one])
    assert create_tags(repository, [one, other]) == (other,)


def test_a_tag_that_somebody_made_by_hand_counts(repository):
    git(repository, "tag", "v1.0.0")
    assert create_tags(repository, [Tag("v1.0.0", head(repository), "v1.0.0")]) == ()
    assert not read_tags(repository)["v1.0.0"].annotated


def test_a_tag_on_another_commit_is_an_error_that_names_both(repository):
    old, new = git(repository, "rev-parse", "HEAD~1"), head(repository)
    git(repository, "tag", "-a", "api@1.0.0", "-m", "x", old)
    with pytest.raises(BadInputError) as caught:
        create_tags(repository, [Tag("web@1.0.0", new, "x"), Tag("api@1.0.0", new, "x")])
    assert caught.value.code == "tags.elsewhere"
    assert old[:12] in caught.value.what
    assert new[:12] in caught.value.what
    assert set(read_tags(repository)) == {"api@1.0.0"}, "nothing is tagged when anything is wrong"


def test_every_tag_that_stands_elsewhere_is_told():
    wanted = [Tag(name, "a" * 40, "") for name in ("x@1.0.0", "y@1.0.0", "z@1.0.0")]
    there = {name: Standing(name, "b" * 40, annotated=True) for name in ("x@1.0.0", "z@1.0.0")}
    with pytest.raises(BadInputError) as caught:
        missing(wanted, there)
    assert caught.value.where == "x@1.0.0, z@1.0.0"


def test_tags_of_files_are_no_releases(repository):
    blob = subprocess.run(
        ["git", "hash-object", "-w", "--stdin"], cwd=repository, input="x", capture_output=True, text=True, check=True
    ).stdout.strip()
    git(repository, "tag", "v1.0.0", blob)
    assert read_tags(repository) == {}


def test_a_commit_that_is_not_there_is_told(repository):
    with pytest.raises(BadInputError) as caught:
        create_tags(repository, [Tag("v1.0.0", "f" * 40, "x")])
    assert caught.value.code == "tags.no-commit"


def test_no_author_is_told_in_words(repository):
    git(repository, "config", "--unset", "user.email")
    git(repository, "config", "user.useConfigOnly", "true")
    with pytest.raises(CrossfadeError) as caught:
        create_tags(repository, [Tag("v1.0.0", head(repository), "x")])
    assert caught.value.code == "git.no-author"
    assert "user.email" in caught.value.next


def test_a_folder_without_git_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(BadInputError) as caught:
        read_tags(tmp_path)
    assert caught.value.code == "git.no-repository"
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadInputError) as caught:
        read_tags(tmp_path)
    assert caught.value.code == "git.missing"
