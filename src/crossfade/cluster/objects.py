"""Objects of ours among those of others: known by their labels, and changed by one writer at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from crossfade.cluster.api import Cluster, Json
from crossfade.cluster.faults import ConflictError
from crossfade.cluster.names import Target
from crossfade.core.errors import BadInputError, CrossfadeError

_TRIES: Final = 5
_RENAME: Final = "rename it, or give Crossfade a namespace of its own: `runtime.namespace`"


async def ours(cluster: Cluster, target: Target, where: str, *, instead: str = _RENAME) -> Json | None:
    """The object of `target` at the path `where`; None where nothing is there.

    BadInputError when it is somebody else's; `instead` says what to do then.
    """
    there = await cluster.get(where)
    if there is None or target.selector.items() <= (there["metadata"].get("labels") or {}).items():
        return there
    raise BadInputError(
        "kubernetes.name-taken",
        f"the name {there['metadata']['name']} is taken: a {there['kind']} is there that is not ours",
        where=f"namespace {target.namespace}",
        next=instead,
    )


async def looking_again(attempt: Callable[[], Awaitable[None]], target: Target, kind: str, name: str) -> None:
    """Carry out `attempt`, which looks before it writes: once more whenever somebody else was faster.

    CrossfadeError when others go on changing the object of that `kind` and `name`.
    """
    for _ in range(_TRIES):
        with contextlib.suppress(ConflictError):
            await attempt()
            return
    raise CrossfadeError(
        "kubernetes.contended",
        f"others go on changing the {kind} {name}",
        where=target.where,
        next=f"see who: kubectl get {kind.lower()} {name} --show-managed-fields -o yaml",
        retry=True,
    )
