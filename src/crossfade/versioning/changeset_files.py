"""Changeset files: front matter that says which packages change and how much, and below it why."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from crossfade.core.errors import BadInputError
from crossfade.versioning.ranges import SPACES, TRIMMED
from crossfade.versioning.values import BUMPS, Bump, Change, Changeset
from crossfade.versioning.words import ADJECTIVES, NOUNS, VERBS
from crossfade.versioning.workspace import read_text, unwritable

FOLDER = ".changeset"
_S = f"[{SPACES}]"
_FILE = re.compile(rf"{_S}*---(.*?)\r?\n{_S}*---({_S}*?(?:\n|\Z).*)", re.DOTALL)
_LINE = re.compile(r"""(?:"([^"\\]+)"|'([^'\\]+)'|([A-Za-z][\w./-]*))[ ]*:[ ]+(?:(["']?)([a-z]+)\4)[ ]*\r?""")
_TYPED = frozenset({"null", "true", "false", "yes", "no", "on", "off"})
"""Bare words that YAML may read as something other than text."""
_NOT_CHANGESETS = frozenset({"AGENTS.md", "CLAUDE.md", "GEMINI.md"})
_EXAMPLE = 'write it as\n---\n"package-name": patch\n---\n\nWhat changed, for those who use it.'


class Found(NamedTuple):
    """The changesets of a repository, and the text of each file by its path."""

    changesets: tuple[Changeset, ...]
    texts: Mapping[str, str]


def read_changesets(root: Path, paths: Iterable[str] | None = None) -> Found:
    """All changesets, those used by a prerelease last, in the order of their names; or only those of `paths`.

    Raises BadInputError with file and line for a broken one.
    """
    changesets, texts = [], {}
    for path in changeset_paths(root) if paths is None else paths:
        text = read_text(root, path) or ""
        if not text.isascii() and any("\udc80" <= sign <= "\udcff" for sign in text):
            raise BadInputError("versions.unreadable", "it is not UTF-8", where=path, next="save it as UTF-8")
        texts[path] = text
        changesets.append(parse_changeset(text, path))
    return Found(tuple(changesets), texts)


def changeset_paths(root: Path) -> list[str]:
    """Paths of all changeset files, relative to the top; BadInputError if there is no `.changeset`."""
    try:
        names = [each.name for each in (root / FOLDER).iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        raise no_folder(root) from None
    try:
        used = [each.name for each in (root / FOLDER / "pre").iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        used = []
    paths = [f"{FOLDER}/{name}" for name in sorted(filter(is_changeset, names), key=os.fsencode)]
    return paths + [f"{FOLDER}/pre/{name}" for name in sorted(filter(is_changeset, used), key=os.fsencode)]


def no_folder(root: Path) -> BadInputError:
    """The error for a repository that has no changesets folder."""
    return BadInputError(
        "versions.no-folder",
        f"there is no {FOLDER} folder",
        where=str(root),
        next="run it at the top of the repository; if it is new there, `crossfade change add` begins it",
    )


def is_changeset(name: str) -> bool:
    """Whether a file of this name is a changeset, rather than a note to people or programs.

    >>> [name for name in ("calm-canary-returns.md", "README.md", ".x.md", "config.json") if is_changeset(name)]
    ['calm-canary-returns.md']
    """
    return name.endswith(".md") and name[0] != "." and name.lower() != "readme.md" and name not in _NOT_CHANGESETS


def parse_changeset(text: str, path: str) -> Changeset:
    r"""The changeset in a file's text; BadInputError with the line of what is wrong.

    >>> parse_changeset('---\n"core": minor\n---\n\nNew events.\n', ".changeset/calm-canary-returns.md")
    Changeset(id='calm-canary-returns', releases=(Change(name='core', bump=<Bump.MINOR: 2>),), summary='New events.', sha=None)
    """
    match = _FILE.search(text)
    if match is None:
        what = "there is no front matter" if text.strip() else "the file is empty"
        raise BadInputError("versions.bad-changeset", what, where=f"{path}:1", next=_EXAMPLE)
    first = text.count("\n", 0, match.start(1)) + 1
    releases = _simple(match[1]) or _any_yaml(match[1], path, first)
    return Changeset(path.removeprefix(f"{FOLDER}/").removesuffix(".md"), releases, match[2].strip(TRIMMED), text=text)


def changeset_text(releases: Iterable[Change], summary: str) -> str:
    """The text of a new changeset file; without releases it says that nothing needs one.

    >>> print(changeset_text([Change("core", Bump.MINOR)], "New events."), end="")
    ---
    "core": minor
    ---
    <BLANKLINE>
    New events.
    """
    lines = "\n".join(f'"{name}": {bump.word}' for name, bump in releases)
    return f"---\n{lines}\n---\n\n{summary}\n"


def write_changeset(
    root: Path, releases: Iterable[Change], summary: str, choose: Callable[[Sequence[str]], str]
) -> str:
    """Write a new changeset, whole or not at all, and return its path relative to the top; `choose` as below.

    The folder is made where there is none, and no other changeset is written over. BadInputError where that cannot be.
    """
    folder = root / FOLDER
    while (path := folder / f"{changeset_name(choose)}.md").exists():
        pass
    partial = folder / f".{path.name}.{os.getpid()}"
    try:
        folder.mkdir(exist_ok=True)
        partial.write_text(changeset_text(releases, summary), encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise unwritable(f"{FOLDER}/{path.name}", error) from None
    return f"{FOLDER}/{path.name}"


def changeset_name(choose: Callable[[Sequence[str]], str]) -> str:
    """A name that is easy to say, of three words; `choose` takes one of a list, as `random.choice` does.

    >>> changeset_name(lambda words: words[0])
    'able-anchors-arrive'
    """
    return "-".join(choose(words.split()) for words in (ADJECTIVES, NOUNS, VERBS))


def _simple(front: str) -> tuple[Change, ...] | None:
    # Nearly every file is read here, a line at a time; what does not fit goes to the YAML parser.
    found: dict[str, Bump] = {}
    for line in front.split("\n"):
        if not line.strip(" \r"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match[5] not in BUMPS:
            return None
        name = match[1] or match[2] or match[3]
        if name in found or name.isdigit() or not name.strip(TRIMMED) or (match[3] or "").lower() in _TYPED:
            return None
        found[name] = BUMPS[match[5]]
    return tuple(Change(name, bump) for name, bump in found.items())


def _any_yaml(front: str, path: str, first: int) -> tuple[Change, ...]:
    from ruamel.yaml import YAML  # noqa: PLC0415 - nearly no changeset needs it, and it is slow to import
    from ruamel.yaml.comments import CommentedMap  # noqa: PLC0415 - as above
    from ruamel.yaml.error import MarkedYAMLError  # noqa: PLC0415 - as above

    try:
        found = YAML(typ="rt").load(front)
    except MarkedYAMLError as error:
        line = first + (error.problem_mark.line if error.problem_mark else 0)
        problem = error.problem or "it cannot be read"
        raise BadInputError(
            "versions.bad-changeset", f"the front matter is no YAML: {problem}", where=f"{path}:{line}", next=_EXAMPLE
        ) from None
    if not found:
        return ()
    if not isinstance(found, CommentedMap):
        raise BadInputError(
            "versions.bad-changeset",
            "the front matter does not map packages to bumps",
            where=f"{path}:{first + front.lstrip(' ').startswith(chr(10))}",
            next=_EXAMPLE,
        )
    changes = []
    for name, word in found.items():
        line = first + found.lc.data[name][0] if name in found.lc.data else first
        if not str(name).strip():
            raise BadInputError(
                "versions.bad-changeset", "a package has no name", where=f"{path}:{line}", next=_EXAMPLE
            )
        if not isinstance(word, str) or word not in BUMPS:
            raise BadInputError(
                "versions.bad-changeset",
                f"{str(word)!r} is no bump of {name}",
                where=f"{path}:{line}",
                next="write major, minor, patch or none",
            )
        changes.append(Change(str(name), BUMPS[word]))
    # JavaScript keeps the keys of an object in their order, except that whole numbers come first.
    return tuple(sorted(changes, key=lambda each: (0, int(each.name)) if each.name.isdigit() else (1, 0)))
