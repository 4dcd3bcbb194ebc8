"""npm's ranges of versions, as node-semver reads them in its strict mode.

A range is read in stages, each of which rewrites the sugar of one kind (hyphens, carets, tildes, x-ranges) into plain
comparators. What a stage leaves alone reaches the last one, and what is no comparator there makes the range invalid;
so odd spellings mean here exactly what they mean to npm.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from crossfade.core.semver import SemVer, parse_version
from crossfade.versioning.values import Bump

SPACES = "\t\n\v\f\r \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff"
"""JavaScript's white space, as it stands between the brackets of a regular expression."""
TRIMMED = SPACES.replace("\u2000-\u200a", "".join(map(chr, range(0x2000, 0x200B))))
"""The same, each by itself: what JavaScript strips from the ends of a text."""
_LARGEST = 2**53 - 1
"""The largest whole number of JavaScript, and so of a part of a version."""
_CACHED = 1 << 16

_NUMBER = r"(?:0|[1-9][0-9]*)"
_WORD = rf"(?:[0-9]*[a-zA-Z-][a-zA-Z0-9-]*|{_NUMBER})"
_PRERELEASE = rf"(?:-({_WORD}(?:\.{_WORD})*))"
_BUILD = r"(?:\+[a-zA-Z0-9-]+(?:\.[a-zA-Z0-9-]+)*)"
_LOOSE_WORD = r"(?:[0-9]*[a-zA-Z-][a-zA-Z0-9-]*|[0-9]+)"
_LOOSE_FULL = rf"[v= ]*[0-9]+\.[0-9]+\.[0-9]+(?:-?{_LOOSE_WORD}(?:\.{_LOOSE_WORD})*)?{_BUILD}?"
_PART = rf"({_NUMBER}|[xX*])"
_PARTIAL = rf"[v= ]*{_PART}(?:\.{_PART}(?:\.{_PART}{_PRERELEASE}?{_BUILD}?)?)?"
_BARE_PARTIAL = re.sub(r"\((?!\?)", "(?:", _PARTIAL)

_SPACE_RUN = re.compile(f"[{SPACES}]+")
# Kept as texts: `re` compiles and remembers those that a range really needs, and few do.
_BUILDS = _BUILD
_HYPHEN = rf" ?({_PARTIAL}) - ({_PARTIAL}) ?"
_AFTER_OPERATOR = rf"( ?)((?:<|>)?=?) ?({_LOOSE_FULL}|{_BARE_PARTIAL})"
_AFTER_TILDE = r"( ?)~>? "
_AFTER_CARET = r"( ?)\^ "
_CARET = rf"\^{_PARTIAL}"
_TILDE = rf"~>?{_PARTIAL}"
_X_RANGE = rf"((?:<|>)?=?) ?{_PARTIAL}"
_STAR = r"[<>]?=? ?\*"
_COMPARATOR = rf"((?:<|>)?=?) ?(v?{_NUMBER}\.{_NUMBER}\.{_NUMBER}{_PRERELEASE}?)"
_COMMON = re.compile(r"([\^~]?)(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,9})")

Key = tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]
_COMPARES: dict[str, Callable[[Key, Key], bool]] = {
    "": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_NOTHING = "<0.0.0-0"
"""The comparator that no version passes."""


class Version(NamedTuple):
    """A version with what it is compared by."""

    exact: SemVer
    key: Key


class Comparator(NamedTuple):
    """One condition; without a version it holds for all."""

    operator: str
    version: Version | None

    def __str__(self) -> str:
        return "" if self.version is None else f"{self.operator}{self.version.exact}"


class Range(NamedTuple):
    """Alternatives, in each of which every comparator must hold."""

    alternatives: tuple[tuple[Comparator, ...], ...]

    def __str__(self) -> str:
        return "||".join(" ".join(map(str, comparators)) for comparators in self.alternatives)

    def holds(self, version: Version) -> bool:
        """Whether the version lies in the range; a prerelease only beside one of the same three numbers."""
        alternatives = self.alternatives
        if len(alternatives) == 1:  # nearly always
            return _all_hold(alternatives[0], version)
        return any(_all_hold(comparators, version) for comparators in alternatives)

    @property
    def holds_all(self) -> bool:
        """Whether every release lies in the range, as in `*`."""
        return self.alternatives[0][0].version is None


@lru_cache(_CACHED)
def npm_version(text: str) -> Version | None:
    """The version that npm sees in the text: a `v` in front is allowed, build metadata is dropped; None if none.

    >>> str(npm_version("v1.2.3-rc.1+5").exact), npm_version("1.2")
    ('1.2.3-rc.1', None)
    """
    try:
        exact = parse_version(text.strip(TRIMMED).removeprefix("v"))
    except ValueError:
        return None
    if max(exact.major, exact.minor, exact.patch) > _LARGEST:
        return None
    plain = SemVer(exact.major, exact.minor, exact.patch, exact.prerelease) if exact.build else exact
    return Version(plain, plain.precedence)


@lru_cache(_CACHED)
def npm_range(text: str) -> Range | None:
    """The range that the text is to npm; None if it is none.

    >>> str(npm_range("^1.2 || 3.x")), str(npm_range("1.2.3 - 2")), npm_range("latest")
    ('>=1.2.0 <2.0.0-0||>=3.0.0 <4.0.0-0', '>=1.2.3 <3.0.0-0', None)
    """
    common = _COMMON.fullmatch(text)
    if common is not None and text[1:] != "0.0.0":
        return Range((_common(common),))
    alternatives = []
    for part in _SPACE_RUN.sub(" ", text.strip(TRIMMED)).split("||"):
        comparators = _comparators(part.strip(" "))
        if comparators is None:
            return None
        alternatives.append(comparators)
    return Range(_without_the_needless(alternatives))


def satisfies(version: str, range: str) -> bool:
    """Whether the version lies in the range; false if either is none.

    >>> satisfies("1.3.0", "^1.2.0"), satisfies("1.3.0-rc.1", "^1.2.0"), satisfies("1.2.0-rc.2", "^1.2.0-rc.1")
    (True, False, True)
    """
    seen = npm_version(version)
    known = npm_range(range)
    return seen is not None and known is not None and known.holds(seen)


@lru_cache(_CACHED)
def incremented(version: str, bump: Bump) -> str | None:
    """The next version; a prerelease that already stands for it becomes the release. None if it is no version.

    >>> incremented("1.2.3", Bump.MINOR), incremented("2.0.0-rc.1", Bump.MAJOR), incremented("1.2", Bump.PATCH)
    ('1.3.0', '2.0.0', None)
    """
    seen = npm_version(version)
    if seen is None or bump is Bump.NONE:
        return None if seen is None else str(seen.exact)
    return str(seen.exact.bump(bump.word))  # type: ignore[arg-type]  # NONE has been answered above


def raised(range: str, version: str, bump: Bump, *, keep_bounds: bool = True) -> str:
    """The range in the same style that begins at the new version; of two bounds both are kept, the upper raised if it must.

    What holds every version stays as it is, except for a prerelease, which it does not hold. `keep_bounds=False` keeps
    only the first operator, as changesets 2 does.

    >>> raised("^1.2.0", "2.0.0", Bump.MAJOR), raised(">=1.0.0 <2.0.0", "2.0.0", Bump.MAJOR), raised("1.x", "2.0.0", Bump.MAJOR)
    ('^2.0.0', '>=2.0.0 <3.0.0', '2.0.0')
    """
    known = npm_range(range)
    if known is not None and known.holds_all and not _is_prerelease(version):
        return range
    if keep_bounds and known is not None and len(known.alternatives) == 1 and ">" in range and "<" in range:
        bounded = _with_bounds(known.alternatives[0], version, bump)
        if bounded is not None:
            return bounded
    style = next((each for each in ("^", "~", ">=", "<=", ">") if range.startswith(each)), "")
    return f"{style}{version}"


def _is_prerelease(version: str) -> bool:
    seen = npm_version(version)
    return seen is not None and bool(seen.exact.prerelease)


def _with_bounds(comparators: tuple[Comparator, ...], version: str, bump: Bump) -> str | None:
    if len(comparators) != 2:  # noqa: PLR2004 - a lower and an upper bound
        return None
    lower = next((each for each in comparators if each.operator.startswith(">")), None)
    upper = next((each for each in comparators if each.operator.startswith("<")), None)
    if lower is None or upper is None:
        return None
    above = str(upper) if satisfies(version, str(upper)) else f"<{incremented(version, bump)}"
    return f">={version} {above}" if comparators[0] is lower else f"{above} >={version}"


def _all_hold(comparators: tuple[Comparator, ...], version: Version) -> bool:
    key = version.key
    for sign, bound in comparators:
        if bound is not None and not _COMPARES[sign](key, bound.key):
            return False
    if not version.exact.prerelease:
        return True
    return any(
        bound is not None and bound.exact.prerelease and bound.key[:3] == version.key[:3] for _, bound in comparators
    )


def _common(match: re.Match[str]) -> tuple[Comparator, ...]:
    # Nearly every range is one of these three; reading them at once is what makes large repositories quick.
    style, major, minor, patch = match.group(1), int(match[2]), int(match[3]), int(match[4])
    lower = Version(SemVer(major, minor, patch), (major, minor, patch, True, ()))
    if not style:
        return (Comparator("", lower),)
    if style == "~" or (not major and minor):
        end = (major, minor + 1, 0)
    elif major:
        end = (major + 1, 0, 0)
    else:
        end = (0, 0, patch + 1)
    upper = Version(SemVer(*end, prerelease=("0",)), (*end, False, ((0, 0, ""),)))
    return (Comparator(">=", lower), Comparator("<", upper))


def _comparators(text: str) -> tuple[Comparator, ...] | None:
    text = re.sub(_BUILDS, "", text)
    hyphen = re.fullmatch(_HYPHEN, text)
    if hyphen is not None:
        text = _from_hyphen(hyphen)
    text = re.sub(_AFTER_OPERATOR, r"\1\2\3", text)
    text = re.sub(_AFTER_CARET, r"\1^", re.sub(_AFTER_TILDE, r"\1~", text))
    plain = " ".join(_plain(word) for word in text.split(" ")).split(" ")
    found: dict[str, Comparator] = {}
    for word in plain:
        comparator = _comparator("" if word == ">=0.0.0" else word)
        if comparator is None:
            return None
        found[str(comparator)] = comparator
    if _NOTHING in found:
        return (found[_NOTHING],)
    if len(found) > 1:
        found.pop("", None)
    return tuple(found.values())


def _comparator(word: str) -> Comparator | None:
    if not word:
        return Comparator("", None)
    match = re.fullmatch(_COMPARATOR, word)
    version = npm_version(match[2]) if match else None
    if match is None or version is None:
        return None
    return Comparator("" if match[1] == "=" else match[1], version)


def _without_the_needless(alternatives: list[tuple[Comparator, ...]]) -> tuple[tuple[Comparator, ...], ...]:
    if len(alternatives) == 1:
        return tuple(alternatives)
    possible = [each for each in alternatives if str(each[0]) != _NOTHING]
    if not possible:
        return (alternatives[0],)
    for each in possible:
        if len(possible) > 1 and len(each) == 1 and each[0].version is None:
            return (each,)
    return tuple(possible)


def _plain(word: str) -> str:
    word = _each(word, _CARET, _from_caret)
    word = _each(word, _TILDE, _from_tilde)
    word = _each(word, _X_RANGE, _from_x_range)
    return re.sub(_STAR, "", word.strip(" "), count=1)


def _each(text: str, pattern: str, rewrite: Callable[[re.Match[str]], str]) -> str:
    words = []
    for word in text.strip(" ").split(" "):
        match = re.fullmatch(pattern, word)
        words.append(word if match is None else rewrite(match))
    return " ".join(words)


def _any(part: str | None) -> bool:
    return part is None or part in "xX*"


def _from_caret(match: re.Match[str]) -> str:
    def end(major: str, minor: str, patch: str | None) -> str:
        if major != "0":
            return f"{int(major) + 1}.0.0"
        return f"0.{int(minor) + 1}.0" if minor != "0" or patch is None else f"0.0.{int(patch) + 1}"

    return _up_to(end, match)


def _from_tilde(match: re.Match[str]) -> str:
    return _up_to(lambda major, minor, _: f"{major}.{int(minor) + 1}.0", match)


def _up_to(end: Callable[[str, str, str | None], str], match: re.Match[str]) -> str:
    """From the version that is written to the first that breaks: `end` of its major, its minor, and its patch if it has one."""
    major, minor, patch, prerelease = match.groups()
    if _any(major):
        return ""
    if _any(minor):
        return f">={major}.0.0 <{int(major) + 1}.0.0-0"
    if _any(patch):
        return f">={major}.{minor}.0 <{end(major, minor, None)}-0"
    return f">={major}.{minor}.{patch}{f'-{prerelease}' if prerelease else ''} <{end(major, minor, patch)}-0"


def _from_x_range(match: re.Match[str]) -> str:
    sign, major, minor, patch, _ = match.groups()
    if (_any(major) and not _any(minor)) or (_any(minor) and patch is not None and not _any(patch)):
        return match[0]
    if _any(major):
        return _NOTHING if sign in {"<", ">"} else "*"
    if not _any(patch):
        return match[0]
    whole = _any(minor)
    after = f"{int(major) + 1}.0.0" if whole else f"{major}.{int(minor) + 1}.0"
    first = f"{major}.0.0" if whole else f"{major}.{minor}.0"
    match sign:
        case ">":
            return f">={after}"
        case "<=":
            return f"<{after}-0"
        case "<":
            return f"<{first}-0"
        case ">=":
            return f">={first}"
        case _:
            return f">={first} <{after}-0"


def _from_hyphen(match: re.Match[str]) -> str:
    low, major, minor, patch, _, high, to_major, to_minor, to_patch, prerelease = match.groups()
    if _any(major):
        low = ""
    elif _any(minor):
        low = f">={major}.0.0"
    elif _any(patch):
        low = f">={major}.{minor}.0"
    else:
        low = f">={low}"
    if _any(to_major):
        high = ""
    elif _any(to_minor):
        high = f"<{int(to_major) + 1}.0.0-0"
    elif _any(to_patch):
        high = f"<{to_major}.{int(to_minor) + 1}.0-0"
    elif prerelease:
        high = f"<={to_major}.{to_minor}.{to_patch}-{prerelease}"
    else:
        high = f"<={high}"
    return f"{low} {high}".strip(" ")
