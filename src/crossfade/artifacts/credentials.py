"""From the variable that a file names to what a registry is shown, with nothing in between that could tell it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from crossfade.artifacts.port import Secret
from crossfade.config.publishing import SecretReference
from crossfade.core.errors import BadInputError

_SHORTEST_MASKED = 4
"""Shorter secrets are everywhere in any text: masking them would hide the message and no secret."""


@dataclass(frozen=True, slots=True)
class Login:
    """How we make ourselves known: the header's value, the variables that it is from, and what no message may hold.

    >>> bearer(Secret("hunter2"), "NPM_TOKEN")
    Login(header=Secret(***), variables=('NPM_TOKEN',), secrets=(Secret(***), Secret(***)))
    """

    header: Secret
    variables: tuple[str, ...]
    secrets: tuple[Secret, ...]


def bearer(token: Secret, *variables: str) -> Login:
    """A token that is shown as it is."""
    header = Secret(f"Bearer {token.value}")
    return Login(header, variables, (header, token))


def basic(user: Secret, password: Secret, *variables: str) -> Login:
    """A user and a password (RFC 7617).

    >>> basic(Secret("Aladdin"), Secret("open sesame")).header.value
    'Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=='
    """
    coded = base64.b64encode(f"{user.value}:{password.value}".encode()).decode()
    return Login(Secret(f"Basic {coded}"), variables, (Secret(coded), password))


def resolve(reference: SecretReference, environ: Mapping[str, str], *, where: str) -> Secret:
    """The secret behind `reference`; BadInputError when its variable is absent or holds what cannot be one.

    `where` is the place in the file, such as `registries.npm.token`.

    >>> resolve(SecretReference(env="NPM_TOKEN"), {"NPM_TOKEN": "hunter2"}, where="registries.npm.token")
    Secret(***)
    >>> print(resolve(SecretReference(env="NPM_TOKEN"), {}, where="registries.npm.token"))
    Traceback (most recent call last):
    crossfade.core.errors.BadInputError: the variable NPM_TOKEN is not set
      where: registries.npm.token
      next:  set NPM_TOKEN to the secret, or name another variable in the file
    """
    name = reference.env
    value = environ.get(name, "").strip()
    if not value:
        state = "empty" if name in environ else "not set"
        raise BadInputError(
            "secret.missing",
            f"the variable {name} is {state}",
            where=where,
            next=f"set {name} to the secret, or name another variable in the file",
        )
    if not value.isprintable():
        raise BadInputError(
            "secret.unusable",
            f"the variable {name} holds line breaks or control characters, which no secret of a registry has",
            where=where,
            next=f"set {name} to the secret alone",
        )
    return Secret(value)


def masked(text: str, secrets: Iterable[Secret]) -> str:
    """`text` with every secret replaced.

    >>> masked("bad token hunter2!", [Secret("hunter2")])
    'bad token ***!'
    """
    for value in sorted({each.value for each in secrets}, key=len, reverse=True):
        if len(value) >= _SHORTEST_MASKED:
            text = text.replace(value, "***")
    return text
