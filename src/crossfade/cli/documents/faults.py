"""What went wrong, and what is wrong with the file."""

from __future__ import annotations

from typing import Annotated, TypedDict


class ErrorObject(TypedDict):
    """What went wrong, in place of any other document."""

    code: Annotated[str, "stable name of the error; see errors.md"]
    what: Annotated[str, "what happened, in one sentence"]
    where: Annotated[str, "the file and line, or the thing it is about"]
    next: Annotated[str, "what to do now"]
    retry: Annotated[bool, "whether the same command may succeed later by itself"]


class FaultObject(TypedDict):
    """One thing that is wrong with the file, or likely not meant."""

    code: str
    what: str
    file: str
    line: int
    column: int
    path: Annotated[str, "the key, such as environments.production.strategy.steps[1]"]
    hint: Annotated[str, "what to write instead"]


class CheckObject(TypedDict):
    """`crossfade check`."""

    file: str
    ok: bool
    faults: list[FaultObject]
    warnings: list[FaultObject]


class InitObject(TypedDict):
    """`crossfade init`."""

    file: Annotated[str, "the file that was written"]
