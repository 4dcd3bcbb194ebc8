"""Versions and ranges of Python packages: the mapping is exact both ways, and a raised range holds its version."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from crossfade.core.semver import SemVer, parse_version
from crossfade.versioning.pep440 import from_pep440, to_pep440
from crossfade.versioning.python_ranges import is_range, raised, satisfies
from crossfade.versioning.values import Bump

NUMBER = st.integers(0, 30)
PRE = st.one_of(
    st.just(()),
    st.tuples(st.sampled_from(["alpha", "beta", "rc"]), NUMBER.map(str)),
    st.tuples(st.just("dev"), NUMBER.map(str)),
    st.tuples(st.sampled_from(["alpha", "beta", "rc"]), NUMBER.map(str), st.just("dev"), NUMBER.map(str)),
)
BUILD = st.lists(st.from_regex(r"\A(0|[1-9][0-9]{0,3}|[a-z][a-z0-9]{0,4})\Z"), max_size=3).map(tuple)
MAPPED = st.builds(SemVer, NUMBER, NUMBER, NUMBER, PRE, BUILD)
PLAIN = st.builds(SemVer, NUMBER, NUMBER, NUMBER, PRE.filter(lambda pre: "dev" not in pre))


@given(version=MAPPED)
def test_a_version_comes_back_as_itself(version):
    python = to_pep440(version)
    assert str(Version(python)) == python, "written in PEP 440's normal form"
    assert from_pep440(python) == version


@given(
    release=st.lists(NUMBER, min_size=1, max_size=3),
    pre=st.sampled_from(["", "a1", "-beta.2", "RC3", ".dev4", "b1.dev0"]),
)
def test_what_python_calls_equal_is_equal(release, pre):
    text = ".".join(map(str, release)) + pre
    assert Version(to_pep440(from_pep440(text))) == Version(text)


@given(one=PLAIN, other=PLAIN)
def test_both_sides_order_versions_alike(one, other):
    assert (one < other) == (Version(to_pep440(one)) < Version(to_pep440(other)))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("1.0.0-next.0", "write -rc.0"),
        ("1.0.0-rc", "write -rc.0"),
        ("1.0.0-rc1", "write -rc.1"),
        ("1.0.0-beta-2", "write -beta.2"),
        ("1.0.0-canary.7", "write -dev.7"),
        ("1.0.0-20251121144100", "alpha.N, -beta.N, -rc.N or -dev.N"),
        ("1.0.0-rc.1.2", "alpha.N"),
        ("1.0.0+001", "leading zeros"),
        ("1.0.0+Ubuntu", "small letters"),
        ("1.0.0+a-b", "small letters"),
    ],
)
def test_what_python_cannot_say_is_an_error(text, hint):
    with pytest.raises(ValueError, match="no counterpart in PEP 440") as caught:
        to_pep440(parse_version(text))
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [("1!1.0", "epoch"), ("1.0.post1", "post-release"), ("1.2.3.4", "4 numbers"), ("one", "not a version by PEP 440")],
)
def test_what_semver_cannot_say_is_an_error(text, why):
    with pytest.raises(ValueError, match=why):
        from_pep440(text)


@pytest.mark.parametrize(
    ("old", "version", "new"),
    [
        (">=1.2,<2", "1.3.0", ">=1.3.0,<2"),
        (">=1.2,<2", "2.0.0", ">=2.0.0,<3"),
        (">= 1.2 , < 2.0.0", "2.4.1", ">= 2.4.1 , < 3.0.0"),
        (">=0.3,<0.4", "0.4.0", ">=0.4.0,<0.5"),
        (">=1.2,<1.3.5", "1.5.0", ">=1.5.0,<1.5.1"),
        (">=1.2,<=1.9", "2.0.0", ">=2.0.0,<=2.0.0"),
        ("<2", "1.5.0", "<2"),
        ("<2", "2.0.0", "<3"),
        (">1", "2.0.0", ">=2.0.0"),
        ("~=1.4", "2.1.3", "~=2.1"),
        ("~=1.4.2", "1.5.1", "~=1.5.1"),
        ("~=1.4", "2.0.0-rc.1", "~=2.0rc1"),
        ("==1.4.*", "1.5.2", "==1.5.*"),
        ("==1.4.*", "1.5.0-rc.1", "==1.5.0rc1"),
        ("==1.4", "1.5.0", "==1.5.0"),
        ("===1.4", "1.5.0", "===1.5.0"),
        (">=1.2,!=1.3", "1.4.0", ">=1.4.0,!=1.3"),
        (">=1.2,!=1.3.*", "1.3.1", ">=1.3.1"),
        ("!=1.3", "1.3.0", "==1.3.0"),
        ("", "2.0.0", ""),
        ("*", "2.0.0", "*"),
        ("", "2.0.0-rc.1", ">=2.0.0rc1"),
        (">=1.2,<2", "2.0.0-rc.1", ">=2.0.0rc1,<3"),
        ("^1.2", "2.0.0", "^2.0.0"),
        ("~1.2", "1.3.0", "~1.3.0"),
        ("^1.2.0rc1", "1.2.0-rc.2", "^1.2.0rc2"),
        ("1.2.3", "1.3.0", "1.3.0"),
        (">=1.0", "1.5.0+linux", ">=1.5.0"),
    ],
)
def test_a_range_keeps_its_sense(old, version, new):
    assert raised(old, version, Bump.MINOR) == new
    assert satisfies(version, new)


BOUND = st.tuples(NUMBER, NUMBER).map(lambda pair: f"{pair[0]}.{pair[1]}")
PART = st.one_of(
    st.tuples(st.sampled_from([">=", "<=", ">", "<", "==", "!=", "~=", ">= "]), BOUND).map("".join),
    st.tuples(st.sampled_from(["==", "!="]), BOUND, st.just(".*")).map("".join),
)


@given(parts=st.lists(PART, max_size=3), version=PLAIN)
def test_a_raised_range_holds_the_version_and_is_a_range(parts, version):
    old = ",".join(parts)
    new = raised(old, str(version), Bump.MAJOR)
    assert satisfies(str(version), new)
    assert Version(to_pep440(version)) in SpecifierSet(new, prereleases=True)
    Requirement(f"core{new}")
    assert raised(new, str(version), Bump.MAJOR) == new, "a second time changes nothing"


@given(parts=st.lists(PART, max_size=3), version=PLAIN)
def test_whether_a_version_lies_in_a_range_is_what_packaging_says(parts, version):
    assume(not version.prerelease)
    range_, python = ",".join(parts), Version(to_pep440(version))
    assert is_range(range_)
    assert satisfies(str(version), range_) == SpecifierSet(range_).contains(python)


def test_what_is_no_range_holds_nothing():
    assert not is_range("@ file:///core")
    assert not satisfies("1.0.0", "@ file:///core")
    assert not satisfies("1.0.0-next.1", ">=0")
