"""The shape of the model, walked by path: which section, which field, which unit.

One walk serves the error messages, the reference page and the JSON Schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from crossfade.config.faults import Path
from crossfade.config.quantities import Quantity
from crossfade.config.section import Section, Shorthand


@dataclass(frozen=True, slots=True)
class Place:
    """What stands at a path: its bare type, whether it may be absent, and what is known about it."""

    type: Any
    optional: bool = False
    metadata: tuple[Any, ...] = ()

    @property
    def quantity(self) -> Quantity | None:
        """The unit, where the value has one."""
        return next((each for each in self.metadata if isinstance(each, Quantity)), None)

    @property
    def sections(self) -> tuple[type[Section], ...]:
        """The section that stands here, or each of the kinds that may."""
        return tuple(each for each in self.members if isinstance(each, type) and issubclass(each, Section))

    @property
    def members(self) -> tuple[Any, ...]:
        """The alternatives of a union, else the one type."""
        return get_args(self.type) if get_origin(self.type) in (Union, UnionType) else (self.type,)

    @property
    def shorthand(self) -> Shorthand | None:
        """The one line that may stand here instead."""
        own = next((each for each in self.metadata if isinstance(each, Shorthand)), None)
        return own or (self.sections[0].shorthand if len(self.sections) == 1 else None)

    @property
    def item(self) -> Place | None:
        """What a list or a mapping holds."""
        arguments = get_args(self.type)
        if get_origin(self.type) is tuple:
            return unwrap(arguments[0])
        return unwrap(arguments[1]) if get_origin(self.type) is dict else None


def unwrap(annotation: Any, metadata: Sequence[Any] = ()) -> Place:
    """A type annotation without `Annotated` and `| None`, which become metadata and `optional`."""
    optional = False
    gathered = list(metadata)
    while True:
        if get_origin(annotation) is Annotated:
            annotation, *more = get_args(annotation)
            gathered += more
        elif get_origin(annotation) in (Union, UnionType) and NoneType in get_args(annotation):
            rest = [each for each in get_args(annotation) if each is not NoneType]
            annotation, optional = Union[tuple(rest)], True  # noqa: UP007 - made from a list
        else:
            return Place(annotation, optional, tuple(gathered))


def of_field(field: FieldInfo) -> Place:
    """What a field holds."""
    return unwrap(field.annotation, field.metadata)


def kind_of(section: type[Section]) -> str | None:
    """The kind that names a section among its alternatives.

    >>> from crossfade.config.model import Judge

    >>> from crossfade.config.strategies import BlueGreen
    >>> kind_of(BlueGreen), kind_of(Judge)
    ('blue-green', None)
    """
    field = section.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return None
    return str(get_args(field.annotation)[0])


@dataclass(frozen=True, slots=True)
class Found:
    """A location that pydantic reports, as the file has it: its path without the names of alternatives."""

    path: Path
    place: Place | None
    section: type[Section] | None
    """The section that the last part is (or would be) a key of."""
    is_key: bool = False


def locate(root: type[Section], location: Sequence[str | int]) -> Found:
    """Where a pydantic location stands, and what the model has there.

    >>> from crossfade.config.model import Project
    >>> locate(Project, ("environments", "live", "strategy", "canary", "steps", 1, "weight")).path
    ('environments', 'live', 'strategy', 'steps', 1, 'weight')
    """
    path: Path = ()
    here: Place | None = Place(root)
    section: type[Section] | None = None
    for part in location:
        if part == "[key]":
            return Found(path, None, None, is_key=True)
        if here is not None and len(here.sections) > 1:
            chosen = [each for each in here.sections if kind_of(each) == part]
            here, section = (Place(chosen[0]) if chosen else None), None
            continue
        path = (*path, part)
        section = here.sections[0] if here is not None and here.sections else None
        if section is not None:
            field = section.model_fields.get(str(part))
            here = of_field(field) if field is not None else None
        else:
            here = here.item if here is not None else None
    return Found(path, here, section)


def walk(root: type[Section]) -> Iterator[tuple[Path, type[Section]]]:
    """Every section below `root` with its path, in the order of the file; `*` stands for a name, `[]` for an index.

    >>> from crossfade.config.model import Project
    >>> [".".join(map(str, path)) for path, _ in walk(Project)][:4]
    ['', 'components.*', 'components.*.source', 'components.*.build']
    """
    yield from _walk((), root)


def _walk(path: Path, section: type[Section]) -> Iterator[tuple[Path, type[Section]]]:
    yield path, section
    for name, field in section.model_fields.items():
        place, below = of_field(field), (*path, name)
        if place.item is not None:
            below = (*below, "*") if get_origin(place.type) is dict else (*path, f"{name}[]")
            place = place.item
        for each in place.sections:
            yield from _walk(below, each)
