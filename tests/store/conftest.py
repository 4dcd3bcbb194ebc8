"""Stores on both databases, and rollouts to put into them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from crossfade.rollouts.rollout import Rollout
from crossfade.store import Store
from store_samples import deployment, rollout


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, of either kind."""
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path}/state.db"


@pytest.fixture
def open_store() -> Iterator[Callable[[str], Store]]:
    """Opens stores, and closes them in the end."""
    opened: list[Store] = []

    def open_(url: str) -> Store:
        opened.append(Store.open(url, patience=5.0))
        return opened[-1]

    yield open_
    for store in opened:
        store.close()


@pytest.fixture
def store(url: str, open_store: Callable[[str], Store]) -> Store:
    """A store on an empty database."""
    return open_store(url)


@pytest.fixture
def other(store: Store, url: str, open_store: Callable[[str], Store]) -> Store:
    """Another process's view of the same database."""
    assert store is not None
    return open_store(url)


@pytest.fixture
def put(store: Store) -> Callable[..., Rollout]:
    """Creates rollouts, each of a component of its own."""
    numbers = itertools.count(1)

    def put_(**changes: object) -> Rollout:
        number = next(numbers)
        new = rollout(f"ro_{number}", f"c{number}", now=1000.0 + number, **changes)  # type: ignore[arg-type]  # for brevity
        store.create(new, deployment(new.plan.component), "ada")
        return new

    return put_
