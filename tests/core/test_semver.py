"""Semantic versions against the strings and the orders that the specification names."""

from __future__ import annotations

import functools
import itertools
import json
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.core.errors import BadInputError
from crossfade.core.reference import parse_reference
from crossfade.core.semver import VERSION, SemVer, parse_tag, parse_version

TOOLS = Path(__file__).parents[2] / ".tools" / "npm" / "node_modules"

VALID = [
    "0.0.4",
    "1.2.3",
    "10.20.30",
    "1.1.2-prerelease+meta",
    "1.1.2+meta",
    "1.1.2+meta-valid",
    "1.0.0-alpha",
    "1.0.0-beta",
    "1.0.0-alpha.beta",
    "1.0.0-alpha.beta.1",
    "1.0.0-alpha.1",
    "1.0.0-alpha0.valid",
    "1.0.0-alpha.0valid",
    "1.0.0-alpha-a.b-c-somethinglong+build.1-aef.1-its-okay",
    "1.0.0-rc.1+build.1",
    "2.0.0-rc.1+build.123",
    "1.2.3-beta",
    "10.2.3-DEV-SNAPSHOT",
    "1.2.3-SNAPSHOT-123",
    "1.0.0",
    "2.0.0",
    "1.1.7",
    "2.0.0+build.1848",
    "2.0.1-alpha.1227",
    "1.0.0-alpha+beta",
    "1.2.3----RC-SNAPSHOT.12.9.1--.12+788",
    "1.2.3----R-S.12.9.1--.12+meta",
    "1.2.3----RC-SNAPSHOT.12.9.1--.12",
    "1.0.0+0.build.1-rc.10000aaa-kk-0.1",
    "99999999999999999999999.999999999999999999.99999999999999999",
    "1.0.0-0A.is.legal",
]
INVALID = [
    "1",
    "1.2",
    "1.2.3-0123",
    "1.2.3-0123.0123",
    "1.1.2+.123",
    "+invalid",
    "-invalid",
    "-invalid+invalid",
    "-invalid.01",
    "alpha",
    "alpha.beta",
    "alpha.beta.1",
    "alpha.1",
    "alpha+beta",
    "alpha_beta",
    "alpha.",
    "alpha..",
    "beta",
    "1.0.0-alpha_beta",
    "-alpha.",
    "1.0.0-alpha..",
    "1.0.0-alpha..1",
    "1.0.0-alpha...1",
    "1.0.0-alpha....1",
    "1.0.0-alpha.....1",
    "1.0.0-alpha......1",
    "1.0.0-alpha.......1",
    "01.1.1",
    "1.01.1",
    "1.1.01",
    "1.2",
    "1.2.3.DEV",
    "1.2-SNAPSHOT",
    "1.2.31.2.3----RC-SNAPSHOT.12.09.1--..12+788",
    "1.2-RC-SNAPSHOT",
    "-1.0.3-gamma+b7718",
    "+justmeta",
    "9.8.7+meta+meta",
    "9.8.7-whatever+meta+meta",
    "99999999999999999999999.999999999999999999.99999999999999999----RC-SNAPSHOT.12.09.1--------------------------------..12",
]
ORDER = [
    "0.9.9",
    "1.0.0-0",
    "1.0.0-2",
    "1.0.0-10",
    "1.0.0-alpha",
    "1.0.0-alpha.1",
    "1.0.0-alpha.beta",
    "1.0.0-beta",
    "1.0.0-beta.2",
    "1.0.0-beta.11",
    "1.0.0-rc.1",
    "1.0.0",
    "1.0.1",
    "1.2.0",
    "1.10.0",
    "2.0.0",
    "2.1.0",
    "2.1.1",
    "10.0.0",
]


@pytest.mark.parametrize("text", VALID)
def test_every_valid_version_reads_and_writes_back(text):
    assert str(parse_version(text)) == text


@pytest.mark.parametrize(
    "text", [*INVALID, "", " 1.0.0", "1.0.0\n", "١.٠.٠", "1.0.0-é", "1." * 200, "9" * 5000 + ".0.0"]
)
def test_every_invalid_version_is_told_as_such(text):
    with pytest.raises(ValueError, match=r"is not a version: .|too long"):
        parse_version(text)


@pytest.mark.parametrize(("low", "high"), [*itertools.combinations(map(parse_version, ORDER), 2)])
def test_precedence(low, high):
    assert low < high
    assert low <= high
    assert high > low
    assert high >= low
    assert not high < low


def by_the_letter(one, other):
    """§ 11, sentence by sentence: negative when `one` is lower, positive when it is higher, 0 when neither is."""
    for a, b in zip((one.major, one.minor, one.patch), (other.major, other.minor, other.patch), strict=True):
        if a != b:
            return a - b
    if bool(one.prerelease) != bool(other.prerelease):
        return -1 if one.prerelease else 1
    for a, b in zip(one.prerelease, other.prerelease, strict=False):
        if a == b:
            continue
        if a.isdigit() and b.isdigit():
            return int(a) - int(b)
        if a.isdigit() != b.isdigit():
            return -1 if a.isdigit() else 1
        return -1 if a.encode() < b.encode() else 1
    return len(one.prerelease) - len(other.prerelease)


def is_version(text):
    try:
        return bool(parse_version(text))
    except ValueError:
        return False


identifiers = st.one_of(st.integers(0, 30).map(str), st.text("aBz-09", min_size=1, max_size=3))
valid = st.builds(
    "{}.{}.{}{}{}".format,
    *[st.integers(0, 2)] * 3,
    st.lists(identifiers, max_size=3).map(lambda each: "-" * bool(each) + ".".join(each)),
    st.sampled_from(["", "", "+1", "+build.01"]),
).filter(is_version)


@given(st.lists(valid.map(parse_version), min_size=2, max_size=6))
def test_order_is_by_the_letter_of_the_specification(versions):
    for one, other in itertools.permutations(versions, 2):
        assert (one < other) == (by_the_letter(one, other) < 0)
        assert (one > other) == (by_the_letter(one, other) > 0)
        assert (one.precedence == other.precedence) == (by_the_letter(one, other) == 0)
    assert sorted(versions, key=lambda each: each.precedence) == sorted(
        versions, key=functools.cmp_to_key(by_the_letter)
    )


@pytest.mark.real
def test_npm_reads_and_orders_as_we_do(require):
    """The package `semver` on the same texts: what is valid, and every pair's order."""
    texts = [*VALID[:29], VALID[30], *INVALID, *ORDER]  # JavaScript has no numbers as large as VALID[29]
    script = """
        const semver = require(process.argv[1]), texts = JSON.parse(process.argv[2])
        const valid = texts.filter(text => semver.valid(text) !== null && !/^[v=\\s]/.test(text))
        console.log(JSON.stringify([valid, valid.map(a => valid.map(b => semver.compare(a, b)))]))
    """
    command = [require("node"), "-e", script, TOOLS / "semver", json.dumps(texts)]
    valid_there, order = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert valid_there == [text for text in texts if is_version(text)]
    versions = [parse_version(text) for text in valid_there]
    assert order == [[(a > b) - (a < b) for b in versions] for a in versions]


@pytest.mark.parametrize("text", ORDER)
def test_a_version_is_found_inside_a_text(text):
    assert re.findall(VERSION, f"api@{text}/x") == [text]
    assert re.compile(VERSION).groups == 0


@pytest.mark.parametrize(
    "text", ["v1.0.0", "v1.0.1", "v1.1.0", "v2.0.0", "v1.0.0-alpha.1", "v1.0.0-rc.1", "v1.0.0-beta.1+build.123"]
)
def test_the_tags_of_the_usual_format(text):
    assert f"v{parse_tag(text)}" == text


def test_build_metadata_is_identity_and_not_precedence():
    one, other = parse_version("1.0.0+a"), parse_version("1.0.0+b")
    assert one != other
    assert not one < other
    assert not one > other
    assert one <= other
    assert one >= other


@pytest.mark.parametrize(
    ("version", "part", "expected"),
    [
        ("1.2.3", "patch", "1.2.4"),
        ("1.2.3", "minor", "1.3.0"),
        ("1.2.3", "major", "2.0.0"),
        ("1.2.3-rc.1", "patch", "1.2.3"),
        ("1.3.0-rc.1", "minor", "1.3.0"),
        ("1.2.3-rc.1", "minor", "1.3.0"),
        ("2.0.0-rc.1", "major", "2.0.0"),
        ("2.1.0-rc.1", "major", "3.0.0"),
        ("1.0.0+build", "patch", "1.0.1"),
    ],
)
def test_bump(version, part, expected):
    assert str(parse_version(version).bump(part)) == expected


@given(*[st.integers(0, 10**9)] * 3, st.sampled_from(["major", "minor", "patch"]))
def test_a_bump_is_later(major, minor, patch, part):
    version = SemVer(major, minor, patch)
    assert version.bump(part) > version


@given(st.text(max_size=40))
def test_any_text_is_a_version_or_a_value_error(text):
    try:
        version = parse_version(text)
    except ValueError:
        return
    assert str(version) == text


@pytest.mark.parametrize(
    ("text", "hint"), [("v1.0.0", "write '1.0.0'"), ("1.1", "2 of 3"), ("1.02.0", "write 2"), ("1.2.3.4", "4 numbers")]
)
def test_the_reason_is_named(text, hint):
    with pytest.raises(ValueError, match=hint):
        parse_version(text)


def test_a_tag_may_have_one_v():
    assert parse_tag("v1.2.3") == parse_tag("1.2.3") == SemVer(1, 2, 3)
    with pytest.raises(ValueError, match="not a version"):
        parse_tag("vv1.2.3")


def test_a_value_that_is_no_version_cannot_be_made():
    with pytest.raises(ValueError, match="not a version"):
        SemVer(1, 0, 0, ("01",))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("api", "reference.no-version"),
        ("api@", "reference.no-version"),
        ("@1.0.0", "reference.no-component"),
        ("api@1.0", "reference.bad-version"),
        ("api@v1.0.0", "reference.bad-version"),
        ("", "reference.no-version"),
    ],
)
def test_a_bad_reference_says_what_is_missing(text, code):
    with pytest.raises(BadInputError) as caught:
        parse_reference(text)
    assert caught.value.code == code
    assert caught.value.next


def test_a_reference():
    component, version = parse_reference("api@1.1.0-rc.1")
    assert (component, str(version)) == ("api", "1.1.0-rc.1")
    assert str(parse_reference("@scope/widget@2.0.0").component) == "@scope/widget"
