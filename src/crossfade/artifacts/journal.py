"""The journal of a publication: what is to be where, how far each item is, and what may go on. Pure.

An item is one version of one component in one registry. It goes

    wanted → uploaded → verified → tagged

and each of these is a fact that was read back from the registry before it was written down. What an item needs (the
same version's dependencies) is tagged before the item is begun; what fails holds up what depends on it, and nothing
else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from crossfade.artifacts.port import Coordinate
from crossfade.core.errors import CrossfadeError

State = Literal["wanted", "uploaded", "verified", "tagged"]
STATES: tuple[State, ...] = ("wanted", "uploaded", "verified", "tagged")


@dataclass(frozen=True, slots=True)
class Item:
    """One version of one component in one registry.

    `digest` is the sha256 (hex) of the bytes that were gathered when the publication began, so that a later attempt
    publishes exactly those. `tags` are the names that are to lead to it; `needs` the keys of the items before it.
    """

    component: str
    registry: str
    at: Coordinate
    digest: str
    tags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What it is called in the journal.

        >>> Item("core", "npm", Coordinate("@navi/core", "1.2.0"), "").key
        'core → npm'
        """
        return key(self.component, self.registry)


def key(component: str, registry: str) -> str:
    """The name of a component's item for a registry."""
    return f"{component} → {registry}"


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an item does not go on: the words of the error, and whether the same call may succeed later."""

    code: str
    what: str
    where: str = ""
    next: str = ""
    retry: bool = False

    @classmethod
    def of(cls, error: CrossfadeError) -> Fault:
        """The fault that an error tells of."""
        return cls(error.code, error.what, error.where, error.next, error.retry)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an item is; `fault` is why it does not go on."""

    state: State = "wanted"
    integrity: Mapping[str, str] = field(default_factory=dict)
    fault: Fault | None = None

    @property
    def done(self) -> bool:
        """Whether there is nothing left to do."""
        return self.state == "tagged"


@dataclass(frozen=True, slots=True)
class Journal:
    """A publication: its items in dependency order, and how far each is.

    >>> core = Item("core", "npm", Coordinate("core", "1.0.0"), "aa")
    >>> shell = Item("shell", "npm", Coordinate("shell", "1.0.0"), "bb", needs=(core.key,))
    >>> journal = Journal((core, shell))
    >>> [item.key for item in journal.ready()]
    ['core → npm']
    >>> journal = journal.at(core.key, Standing("verified", fault=Fault("registry.refused", "no permission to tag")))
    >>> journal.ready(), dict(journal.held_up())
    ((), {'shell → npm': 'core → npm'})
    >>> [item.key for item in journal.at(core.key, Standing("tagged")).ready()]
    ['shell → npm']
    """

    items: tuple[Item, ...]
    standings: Mapping[str, Standing] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known: set[str] = set()
        for item in self.items:
            if item.key in known:
                message = f"{item.key} is there twice"
                raise ValueError(message)
            late = set(item.needs) - known
            if late:
                message = f"{item.key} needs {', '.join(sorted(late))}, which does not come before it"
                raise ValueError(message)
            known.add(item.key)

    def standing(self, item: str) -> Standing:
        """How far an item is."""
        return self.standings.get(item, Standing())

    def at(self, item: str, standing: Standing) -> Journal:
        """The journal with one item further on."""
        return replace(self, standings={**self.standings, item: standing})

    def afresh(self) -> Journal:
        """The journal for another attempt: no fault holds anything up."""
        kept = {name: replace(each, fault=None) for name, each in self.standings.items()}
        return replace(self, standings=kept)

    def ready(self) -> tuple[Item, ...]:
        """The items that may be worked on now: not done, without a fault, and all that they need is tagged."""
        return tuple(item for item in self.items if self._goes_on(item) and all(map(self._done, item.needs)))

    def held_up(self) -> Mapping[str, str]:
        """The items that cannot begin, each with the faulty one that holds it up."""
        return dict(self._held_up())

    def faults(self) -> Mapping[str, Fault]:
        """The items that have failed, and why."""
        found = ((item.key, self.standing(item.key).fault) for item in self.items)
        return {name: fault for name, fault in found if fault is not None}

    @property
    def done(self) -> bool:
        """Whether everything is where it is to be."""
        return all(self._done(item.key) for item in self.items)

    def component_done(self, component: str) -> bool:
        """Whether a component is everywhere where it is to be: then it gets its git tag."""
        return all(self._done(item.key) for item in self.items if item.component == component)

    def _held_up(self) -> Iterator[tuple[str, str]]:
        causes = {name: name for name in self.faults()}
        for item in self.items:
            cause = next((causes[need] for need in item.needs if need in causes), None)
            if cause is not None and item.key not in causes:
                causes[item.key] = cause
                yield item.key, cause

    def _goes_on(self, item: Item) -> bool:
        standing = self.standing(item.key)
        return not standing.done and standing.fault is None

    def _done(self, item: str) -> bool:
        return self.standing(item).done
