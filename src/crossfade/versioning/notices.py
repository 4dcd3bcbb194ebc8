"""The files that a major needs: its migration guide, and the notice that its users were told, when, by whom and how.

Each notice is a small file that is committed, `.changeset/notices/NAME-vMAJOR.json`, so that a review shows it and the whole
team sees the same. Crossfade sends nothing by itself.

>>> from datetime import UTC
>>> notice = Notice("api", 2, datetime(2025, 11, 5, 9, tzinfo=UTC), "Ada <ada@example.org>", "e-mail to all customers")
>>> parse_notice(notice.as_text(), notice.path) == notice
True
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from crossfade.core.errors import BadInputError
from crossfade.versioning.majors import guide_path, majors
from crossfade.versioning.values import NOTICES, Notice, PlannedRelease
from crossfade.versioning.workspace import unwritable

_KEYS = ("component", "major", "sent", "by", "how")
_NAMED = re.compile(r"(?P<component>.+)-v(?P<major>[1-9][0-9]*)\.json")


def parse_notice(text: str, path: str) -> Notice:
    """The notice in a file; BadInputError (`notices.bad-file`) names the file and line and what is wrong."""
    try:
        told = json.loads(text)
    except json.JSONDecodeError as error:
        raise _bad(f"{path}:{error.lineno}", f"this is not JSON: {error.msg}") from None
    if not isinstance(told, dict):
        raise _bad(path, "this is not a JSON object")
    absent = [key for key in _KEYS if key not in told]
    foreign = [str(key) for key in told if key not in _KEYS]
    if absent or foreign:
        what = f"{absent[0]!r} is missing" if absent else f"there is no key {foreign[0]!r}"
        raise _bad(path, what)
    for key in ("component", "sent", "by", "how"):
        if not isinstance(told[key], str) or not told[key].strip():
            raise _bad(_line_of(key, text, path), f"{key!r} must be a text")
    if not isinstance(told["major"], int) or isinstance(told["major"], bool) or told["major"] < 1:
        raise _bad(_line_of("major", text, path), "'major' must be a whole number from 1")
    notice = Notice(told["component"], told["major"], _instant(told["sent"], text, path), told["by"], told["how"])
    if notice.path != path:
        raise _bad(path, f"the file speaks of {notice.component} {notice.major}, and its name does not")
    return notice


def read_notices(root: Path) -> dict[tuple[str, int], Notice]:
    """Every notice of the repository at `root`; BadInputError for a file that cannot be understood."""
    folder = root / NOTICES
    notices = {}
    for file in sorted(folder.rglob("*.json")):
        path = file.relative_to(root).as_posix()
        if _NAMED.fullmatch(file.name) is None:
            raise _bad(path, "a notice is named NAME-vMAJOR.json")
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise _bad(path, f"the file cannot be read: {error}") from None
        notice = parse_notice(text, path)
        notices[notice.component, notice.major] = notice
    return notices


def read_guides(root: Path, releases: Iterable[PlannedRelease], folder: str) -> dict[str, str]:
    """The guides of the majors among `releases` that are there, by path relative to `root`."""
    guides = {}
    for path in (guide_path(folder, release) for release in majors(releases)):
        try:
            guides[path] = (root / path).read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(
                "majors.unreadable-guide",
                f"the guide cannot be read: {error}",
                where=path,
                next="save it as UTF-8 text",
            ) from None
    return guides


def write_notice(root: Path, notice: Notice) -> Path:
    """Write a notice, all or nothing, and return its file. A second time with the same words changes nothing.

    BadInputError (`notices.told-already`) when there is a notice with other words: the first time that users were told
    is what counts, and it is not written over.
    """
    file = root / notice.path
    if not notice.how.strip():
        hint = 'say it in a few words, such as "e-mail to all customers"'
        raise BadInputError("notices.no-words", "a notice says how users were told", where=notice.path, next=hint)
    if file.exists():
        there = parse_notice(file.read_text(encoding="utf-8"), notice.path)
        if there.as_text() == notice.as_text():
            return file
        raise BadInputError(
            "notices.told-already",
            f"the users of {notice.component} were told about version {notice.major} on {there.sent:%Y-%m-%d}",
            where=notice.path,
            next="that notice counts; take the file away if it was never sent",
        )
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8", newline="\n") as opened:
            opened.write(notice.as_text())
            opened.flush()
            os.fsync(opened.fileno())
        partial.replace(file)
    except OSError as error:
        raise unwritable(notice.path, error) from None
    return file


def _instant(text: str, whole: str, path: str) -> datetime:
    try:
        sent = datetime.fromisoformat(text)
    except ValueError:
        sent = None
    if sent is None or sent.tzinfo is None:
        raise _bad(
            _line_of("sent", whole, path),
            f"'sent' must be an instant such as 2025-11-05T09:00:00Z, and is {text[:40]!r}",
        )
    return sent


def _line_of(key: str, text: str, path: str) -> str:
    """`FILE:LINE` of a key."""
    at = text.find(f'"{key}"')
    return f"{path}:{text.count(chr(10), 0, at) + 1}" if at >= 0 else path


def _bad(where: str, what: str) -> BadInputError:
    return BadInputError(
        "notices.bad-file", what, where=where, next="correct the file, or write it again by `crossfade change notice`"
    )
