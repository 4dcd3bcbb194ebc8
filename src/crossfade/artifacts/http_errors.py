"""What is told when a registry does not do what it was asked: what, where, and what to do next. Pure.

`name` is the registry's in the file, `where` its address as errors name it, `order` the request.
"""

from __future__ import annotations

from crossfade.artifacts.manners import TOO_MANY, Trouble
from crossfade.artifacts.port import RefusedError
from crossfade.core.durations import format_duration
from crossfade.core.errors import CrossfadeError, UnreachableError

BROKE_OFF = "registry.broke-off"


def refused(name: str, where: str, order: str, *, status: int, said: str, variables: str, otp: bool) -> RefusedError:
    """It does not let us. `variables` are those that our credentials are from; `otp`: it wants a one-time password."""
    if otp:
        return RefusedError(
            "registry.refused",
            f"{name} refuses {order} with {status}{said}: it wants a one-time password",
            where=where,
            next=f"let {variables} hold a token for machines, which needs no one-time password",
        )
    if variables:
        return RefusedError(
            "registry.refused",
            f"{name} refuses {order} with {status}{said}",
            where=where,
            next=f"check {variables}: it must be valid and allowed to do this",
        )
    return RefusedError(
        "registry.refused",
        f"{name} refuses {order} with {status}{said}, and we showed it no credentials",
        where=where,
        next=f"give `registries.{name}` credentials: a variable that holds them",
    )


def failed(name: str, where: str, order: str, *, status: int, said: str) -> CrossfadeError:
    """It answered that this cannot be done."""
    return CrossfadeError(
        "registry.failed",
        f"{order}: {name} answered {status}{said}",
        where=where,
        next="change what the registry complains of: the same request would be answered in the same way",
    )


def gave_up(name: str, where: str, order: str, trouble: Trouble, *, said: str, attempts: int) -> UnreachableError:
    """All attempts were in vain. `said` is what was wrong at the last one, with no secret in it."""
    times = f" ({attempts} attempts)" if attempts > 1 else ""
    soon = f"in {format_duration(trouble.asked)}" if trouble.asked else "once it answers"
    if trouble.status == TOO_MANY:
        return UnreachableError(
            "registry.too-many-requests",
            f"{order}: {name} {said}{times}",
            where=where,
            next=f"run the same command again {soon}, or lower `registries.{name}.rate`",
        )
    return UnreachableError(
        "registry.unreachable",
        f"{order}: {name} {said}{times}",
        where=where,
        next=f"run the same command again {soon}: it goes on where it stopped",
        retry=trouble.heals,
    )


def broke_off(name: str, where: str, order: str, *, why: str) -> UnreachableError:
    """An answer began well and did not end."""
    return UnreachableError(
        "registry.broke-off",
        f"{order}: {name} broke its answer off: {why}",
        where=where,
        next="run the same command again: it goes on where it stopped",
    )


def too_large(name: str, where: str, order: str, *, most: str) -> CrossfadeError:
    """An answer that is read into memory has more than `most`."""
    return CrossfadeError(
        "registry.too-large",
        f"{order}: the answer of {name} is larger than {most}",
        where=where,
        next="check the registry's `url`: no such answer is that large",
    )
