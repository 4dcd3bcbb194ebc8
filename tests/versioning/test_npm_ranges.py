"""Ranges mean what they mean to npm: compared with the real semver on made-up ranges, odd spellings among them."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from crossfade.versioning.ranges import incremented, npm_range, raised, satisfies
from crossfade.versioning.values import Bump

SEMVER = Path(__file__).parents[2] / ".tools" / "npm" / "node_modules" / "semver"
ASK = """
const semver = require(process.argv[1]);
const { ranges, versions } = JSON.parse(require("fs").readFileSync(0));
console.log(JSON.stringify({
  ranges: ranges.map((range) => [
    semver.validRange(range) === null ? null : new semver.Range(range).range,
    versions.map((version) => semver.satisfies(version, range)),
  ]),
  next: versions.map((version) => ["major", "minor", "patch"].map((part) => semver.inc(version, part))),
}));
"""
NUMBERS = ["0", "0", "1", "2", "3", "10", "x", "*", "X", "01", "9007199254740991"]
WORDS = ["a", "rc.1", "0", "1", "alpha.beta", "01", "next-1.x", "1a"]
SIGNS = ["", "", "^", "~", ">", ">=", "<", "<=", "=", "~>", "v", "^ ", "> ", "<= ", "==", "~ ", "^v", ">=v ", " ", "!"]
ODD = ["", "*", "latest", "workspace:*", "x", "file:../a", "~", "^", ">", "git://a"]


def test_ranges_are_those_of_npm(require: Callable[[str], Path]) -> None:
    require("changeset")
    choose = random.Random(5)
    ranges = [made_up_range(choose) for _ in range(6000)]
    versions = [made_up_version(choose) for _ in range(60)]
    asked = json.dumps({"ranges": ranges, "versions": versions})
    done = subprocess.run(
        [require("node"), "-e", ASK, str(SEMVER)], input=asked, capture_output=True, text=True, check=True
    )
    answer = json.loads(done.stdout)
    ours = []
    for text in ranges:
        known = npm_range(text)
        ours.append([None if known is None else str(known), [satisfies(version, text) for version in versions]])
    assert [pair for pair in zip(ranges, ours, answer["ranges"], strict=True) if pair[1] != pair[2]] == []
    assert sum(known is not None for known, _ in answer["ranges"]) > 1500
    bumps = (Bump.MAJOR, Bump.MINOR, Bump.PATCH)
    assert [[incremented(version, bump) for bump in bumps] for version in versions] == answer["next"]


@pytest.mark.parametrize(
    ("range", "version", "bump", "expected"),
    [
        ("^1.0.0", "1.1.0", Bump.MINOR, "^1.1.0"),
        ("~1.0.0", "1.1.0", Bump.MINOR, "~1.1.0"),
        (">=1.0.0", "2.0.0", Bump.MAJOR, ">=2.0.0"),
        ("1.0.0", "2.0.0", Bump.MAJOR, "2.0.0"),
        ("1.x || 2.x", "3.0.0", Bump.MAJOR, "3.0.0"),
        ("<2.0.0 >=1.0.0", "1.5.0", Bump.MINOR, "<2.0.0 >=1.5.0"),
        (">=1.0.0 <2.0.0", "2.0.0", Bump.MAJOR, ">=2.0.0 <3.0.0"),
        ("*", "2.0.0", Bump.MAJOR, "*"),
        ("*", "2.0.0-next.0", Bump.MAJOR, "2.0.0-next.0"),
    ],
)
def test_a_range_keeps_its_style(range: str, version: str, bump: Bump, expected: str) -> None:
    assert raised(range, version, bump) == expected


def test_changesets_2_keeps_only_the_first_sign() -> None:
    assert raised(">=1.0.0 <2.0.0", "2.0.0", Bump.MAJOR, keep_bounds=False) == ">=2.0.0"


def made_up_range(choose: random.Random) -> str:
    return choose.choice(["||", " || "]).join(_alternative(choose) for _ in range(choose.choice([1, 1, 1, 1, 2, 3])))


def made_up_version(choose: random.Random) -> str:
    version = ".".join(choose.choice(["0", "1", "2", "3", "10"]) for _ in range(3))
    version += f"-{choose.choice(WORDS)}" if choose.random() < 0.4 else ""
    return choose.choice(["", "", "", "v"]) + version + choose.choice(["", "", "", "+x.5"])


def _alternative(choose: random.Random) -> str:
    kind = choose.random()
    if kind < 0.1:
        return _part(choose) + choose.choice([" - ", "-", " -", "  -  "]) + _part(choose)
    if kind < 0.15:
        return choose.choice(ODD)
    between = choose.choice([" ", "  ", "\t", " , "]) if choose.random() < 0.05 else " "
    return between.join(choose.choice(SIGNS) + _part(choose) for _ in range(choose.choice([1, 1, 1, 2, 3])))


def _part(choose: random.Random) -> str:
    count = choose.randint(1, 3)
    text = ".".join(choose.choice(NUMBERS) for _ in range(count))
    if count == 3 and choose.random() < 0.3:
        text += f"-{choose.choice(WORDS)}"
    return text + ("+b.1" if choose.random() < 0.1 else "")
