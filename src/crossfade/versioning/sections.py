"""What a changeset tells its readers, sorted into the sections of a changelog. Pure.

A changeset says which section it belongs to, in the first way that applies:

1. headings in its text that are named like a section: what follows one belongs there, each item of a list on its own;
2. a word before a colon at its beginning, as in `fixed: …`, `security: …`, `feat(cart)!: …`;
3. how much it changes: `minor` is Added, `patch` is Fixed, and `major` is Changed and breaking.

>>> entries_of("security: updated the TLS library", Bump.PATCH)
(Entry(section='Security', text='updated the TLS library', breaking=False),)
>>> [entry.as_item() for entry in entries_of("the v1 endpoint is gone", Bump.MAJOR)]
['- **Breaking:** the v1 endpoint is gone']
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

from crossfade.versioning.markdown import blocks, headings
from crossfade.versioning.values import Bump

Section = Literal["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Deployment Notes"]
SECTIONS: tuple[Section, ...] = get_args(Section)
"""In the order in which they are written."""

BREAKING = "**Breaking:**"
"""What an entry begins with when those who use the component have to do something."""

_PREFIX = re.compile(
    r"(?P<word>[A-Za-z]+(?: (?:notes?|changes?))?)(?:\((?P<scope>[^()]*)\))?(?P<loud>!)?:[ \t]+(?=\S)", re.IGNORECASE
)
_WORDS: Mapping[str, Section] = {
    **dict.fromkeys(("added", "add", "feat", "feature", "new"), "Added"),
    **dict.fromkeys(("changed", "change", "perf", "refactor", "breaking", "breaking change"), "Changed"),
    **dict.fromkeys(("deprecated", "deprecate"), "Deprecated"),
    **dict.fromkeys(("removed", "remove"), "Removed"),
    **dict.fromkeys(("fixed", "fix", "bugfix", "hotfix"), "Fixed"),
    **dict.fromkeys(("security", "sec"), "Security"),
    **dict.fromkeys(("deployment", "deploy", "deployment note", "deployment notes"), "Deployment Notes"),
}
_LOUD = frozenset({"breaking", "breaking change", "breaking changes"})
_HEADINGS: Mapping[str, Section] = {
    **{section.lower(): section for section in SECTIONS},
    **dict.fromkeys(_LOUD, "Changed"),
    "deployment": "Deployment Notes",
}
_BY_BUMP: Mapping[Bump, Section] = {
    Bump.NONE: "Changed",
    Bump.PATCH: "Fixed",
    Bump.MINOR: "Added",
    Bump.MAJOR: "Changed",
}


class Entry(NamedTuple):
    """One thing that changed: Markdown, possibly of several lines, without the item's dash."""

    section: Section
    text: str
    breaking: bool = False

    def as_item(self) -> str:
        """The entry as an item of a list."""
        text = f"{BREAKING} {self.text}" if self.breaking else self.text
        return "- " + "\n".join(f"  {line}" if line else "" for line in text.split("\n")).strip()


class _Part(NamedTuple):
    section: Section
    text: str
    leads: bool
    """Whether it stands before the first heading."""
    loud: bool
    """Whether its own heading or word says that it breaks something."""


def entries_of(summary: str, bump: Bump) -> tuple[Entry, ...]:
    """The entries that a changeset's text makes, in its own order; none where it is empty.

    `bump` is what the changeset says, not what becomes of it: a breaking change below 1.0.0 is breaking all the same.
    Of a major changeset those entries are breaking that say so; else what stands before the first heading; else what
    is changed or removed; else every entry.
    """
    parts = tuple(_parts(summary.strip("\n"), _BY_BUMP[bump]))
    chosen = frozenset[int]()
    if bump is Bump.MAJOR:
        rules = (
            [index for index, part in enumerate(parts) if part.loud],
            [index for index, part in enumerate(parts) if part.leads],
            [index for index, part in enumerate(parts) if part.section in {"Changed", "Removed"}],
            [index for index, part in enumerate(parts) if part.section != "Deployment Notes"],
        )
        chosen = frozenset(next((rule for rule in rules if rule), ()))
    return tuple(
        Entry(part.section, part.text, part.loud or (index in chosen and part.section != "Deployment Notes"))
        for index, part in enumerate(parts)
    )


def by_section(entries: Sequence[Entry]) -> dict[Section, tuple[Entry, ...]]:
    """The entries of each section that has any, in the order of writing; each said once, breaking ones first."""
    once = sorted(dict.fromkeys(entries), key=lambda entry: not entry.breaking)
    return {
        section: found for section in SECTIONS if (found := tuple(entry for entry in once if entry.section == section))
    }


def section_named(heading: str) -> Section | None:
    """The section that a heading names; None for any other heading.

    >>> section_named("fixed"), section_named("Breaking Changes"), section_named("Why")
    ('Fixed', 'Changed', None)
    """
    return _HEADINGS.get(heading.strip().rstrip(":").lower())


def _parts(summary: str, usual: Section) -> Iterator[_Part]:
    lines = summary.split("\n")
    named = [(each.line, each.text) for each in headings(lines) if section_named(each.text)]
    end = named[0][0] if named else len(lines)
    for text in blocks(lines[:end]):
        yield _lead(text, usual)
    for index, (line, heading) in enumerate(named):
        following = named[index + 1][0] if index + 1 < len(named) else len(lines)
        loud = heading.strip().rstrip(":").lower() in _LOUD
        for text in blocks(lines[line + 1 : following]):
            yield _Part(section_named(heading) or usual, text, leads=False, loud=loud)


def _lead(text: str, usual: Section) -> _Part:
    match = _PREFIX.match(text)
    word = match["word"].lower() if match else ""
    if match is None or word not in _WORDS:
        return _Part(usual, text, leads=True, loud=False)
    section: Section = "Security" if (match["scope"] or "").lower() == "security" else _WORDS[word]
    return _Part(section, text[match.end() :], leads=True, loud=bool(match["loud"]) or word in _LOUD)
