"""Which files a list of globs means."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.artifacts.building.files import Listing
from crossfade.artifacts.building.globs import anchor, holds, select

FILES = [
    ".env",
    "README.md",
    "src/.hidden",
    "src/a.test.ts",
    "src/a.ts",
    "src/b.tsx",
    "src/deep/er/c.ts",
    "src/weird[1]/x y.ts",
    "srcs/d.ts",
]


@pytest.mark.parametrize(
    ("globs", "expected"),
    [
        (["**"], FILES),
        (["*"], [".env", "README.md"]),
        (["src"], [name for name in FILES if name.startswith("src/")]),
        (["src/"], [name for name in FILES if name.startswith("src/")]),
        (["src/*"], ["src/.hidden", "src/a.test.ts", "src/a.ts", "src/b.tsx"]),
        (["src/**"], [name for name in FILES if name.startswith("src/")]),
        (["**/*.ts"], ["src/a.test.ts", "src/a.ts", "src/deep/er/c.ts", "src/weird[1]/x y.ts", "srcs/d.ts"]),
        (["src/**/c.ts"], ["src/deep/er/c.ts"]),
        (["src/**/a.ts"], ["src/a.ts"]),
        (["src/*.{ts,tsx}"], ["src/a.test.ts", "src/a.ts", "src/b.tsx"]),
        (["src/[ab].ts*"], ["src/a.ts", "src/b.tsx"]),
        (["src/[!a].tsx"], ["src/b.tsx"]),
        (["src/?.ts"], ["src/a.ts"]),
        ([r"src/weird\[1\]/*"], ["src/weird[1]/x y.ts"]),
        (["src/weird[1"], []),
        (["!src", "!srcs"], [".env", "README.md"]),
        (["!**/*.test.ts", "src/*.ts"], ["src/a.ts"]),
        (["src/*.ts", "!**/*.test.ts"], ["src/a.ts"]),
        (["./src/a.ts"], ["src/a.ts"]),
        (["README.m"], []),
    ],
)
def test_globs_mean_what_people_expect(globs, expected):
    assert select(".", globs).choose(FILES) == expected
    inside = [f"packages/core/{name}" for name in FILES]
    chosen = select("packages/core", globs).choose([*inside, "packages/other/src/a.ts", "src/a.ts"])
    assert chosen == [f"packages/core/{name}" for name in expected]


@pytest.mark.parametrize("glob", ["../../../x", "/etc/passwd", "!../../.."])
def test_a_glob_never_leads_out_of_the_project(glob):
    with pytest.raises(ValueError, match="leads out of the project"):
        select("packages/core", [glob])


def test_a_glob_without_a_match_is_found():
    assert [glob.written for glob in select(".", ["src", "lib/**", "!nothing"]).idle(FILES)] == ["lib/**"]


names = st.text("ab.[", min_size=1, max_size=3).filter(lambda text: text not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=4).map("/".join)


@given(paths)
def test_a_path_with_its_special_characters_escaped_means_itself(path):
    escaped = re.sub(r"([*?\[\\{])", r"\\\1", path)
    assert select(".", [escaped]).choose([path, f"x{path}"]) == [path]


@given(paths, paths)
def test_a_folder_holds_what_begins_with_its_names(folder, path):
    parts, whole = folder.split("/"), path.split("/")
    assert holds(folder, path) == (whole[: len(parts)] == parts)
    assert anchor(folder, "x") == f"{folder}/x"


@given(st.sets(paths), paths)
def test_a_listing_finds_what_is_under_a_folder_without_looking_at_the_rest(found, folder):
    listing = Listing(tuple(sorted(found)), frozenset())
    assert listing.under(folder) == tuple(sorted(path for path in found if holds(folder, path)))
    assert listing.under(".") == listing.paths
