"""Requests to a registry of images, each with what it asks for: nothing, a password, or a token from a token server."""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit, urlunsplit

from crossfade.artifacts.answers import Answer, FileBody, Stream
from crossfade.artifacts.credentials import Login, bearer
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.port import RefusedError, Secret
from crossfade.core.errors import CrossfadeError

UNAUTHORIZED = 401
_PAIR = re.compile(r'([A-Za-z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))')


class Challenge(NamedTuple):
    """What a registry answers to whoever has not said who they are (`WWW-Authenticate`, RFC 9110, § 11.6.1)."""

    scheme: str
    realm: str = ""
    service: str = ""


def read_challenge(header: str) -> Challenge:
    """The challenge in a header.

    >>> read_challenge('Bearer realm="https://auth/token",service="images",scope="repository:a/b:pull,push"')
    Challenge(scheme='bearer', realm='https://auth/token', service='images')
    >>> read_challenge('Basic realm="here"').scheme
    'basic'
    """
    scheme, _, rest = header.strip().partition(" ")
    said = {name.lower(): quoted or bare for name, quoted, bare in _PAIR.findall(rest)}
    return Challenge(scheme.lower(), said.get("realm", ""), said.get("service", ""))


class Session:
    """One registry, and the tokens that it has given us for each repository.

    `client` holds the base address and the user's own login. A token that has run out is fetched anew. Addresses on
    other hosts, to which registries send us for the bytes of blobs, are never shown any login.
    """

    def __init__(self, client: RegistryClient) -> None:
        self.client = client
        self._challenge: Challenge | None = None
        self._tokens: dict[str, Login] = {}
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def request(
        self,
        method: str,
        address: str,
        *,
        repository: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | FileBody | None = None,
        expect: Collection[int] = (),
        repeatable: bool | None = None,
    ) -> Answer:
        """As `RegistryClient.request`. `address` is below `/v2/REPOSITORY/`, or whole where the registry has given it."""
        place = self._place(repository, address)

        async def ask(login: Login | None, more: Collection[int] = ()) -> Answer:
            return await self.client.request(
                method,
                place,
                headers=headers,
                content=content,
                expect={*expect, *more},
                repeatable=repeatable,
                login=login,
            )

        if not self._is_ours(place):
            return await ask(None)
        shown = await self._login(repository)
        answer = await ask(shown, (UNAUTHORIZED,))
        if answer.status != UNAUTHORIZED:
            return answer
        # A registry that asks for nothing we can give is asked again, so that its refusal is told.
        return await ask(await self._answer_to(answer.headers, repository, shown))

    @asynccontextmanager
    async def stream(self, address: str, *, repository: str) -> AsyncGenerator[Stream]:
        """As `RegistryClient.stream`, for reading."""
        place, headers = self._place(repository, address), {"accept-encoding": "identity"}
        shown = await self._login(repository)
        async with self.client.stream("GET", place, headers=headers, expect=(UNAUTHORIZED,), login=shown) as stream:
            if stream.status != UNAUTHORIZED:
                yield stream
                return
            asked = stream.headers
        shown = await self._answer_to(asked, repository, shown)
        async with self.client.stream("GET", place, headers=headers, login=shown) as stream:
            yield stream

    def absolute(self, location: str) -> str:
        """An address that the registry has given, as a whole one.

        A registry behind a proxy may call itself `http` although we reached it by `https`; that is put right, so that
        nothing is ever sent in the open.
        """
        base = urlsplit(str(self.client.url))
        found = urlsplit(urljoin(str(self.client.url), location))
        if base.scheme == "https" and found.scheme == "http" and found.hostname == base.hostname:
            found = found._replace(scheme="https", netloc=base.netloc)
        return urlunsplit(found)

    async def _login(self, repository: str) -> Login | None:
        """What is shown first: a token where the registry is known to want one, else the user's own login."""
        if self._challenge is None or self._challenge.scheme != "bearer":
            return None
        async with self._turns[repository]:
            return self._tokens.get(repository) or await self._fetch(self._challenge, repository)

    async def _answer_to(self, headers: Mapping[str, str], repository: str, shown: Login | None) -> Login | None:
        """What is shown to a registry that was not content with `shown`."""
        challenge = read_challenge(headers.get("www-authenticate", ""))
        if challenge.scheme != "bearer":
            return None
        async with self._turns[repository]:
            self._challenge = challenge
            held = self._tokens.get(repository)
            # Another request may have fetched one while this one waited.
            return held if held is not None and held is not shown else await self._fetch(challenge, repository)

    async def _fetch(self, challenge: Challenge, repository: str) -> Login:
        """A token for the repository, to pull and, when there is a login, to push: token servers give what is allowed."""
        own = self.client.login
        if str(self.client.url).startswith("https:") and not challenge.realm.startswith("https:"):
            raise RefusedError(
                "oci.open-token-server",
                f"{self.client.name} sends us to a token server without TLS: {challenge.realm or 'it names none'}",
                where=self.client.where,
                next="have the registry name its token server with https://",
            )
        query = {"service": challenge.service, "scope": f"repository:{repository}:{'pull,push' if own else 'pull'}"}
        address = f"{challenge.realm}{'&' if '?' in challenge.realm else '?'}{urlencode(query)}"
        answer = await self.client.request("GET", address, login=own)
        said = {} if answer.missing else answer.json()
        token = (said.get("token") or said.get("access_token")) if isinstance(said, dict) else None
        if not isinstance(token, str):
            raise CrossfadeError(
                "oci.no-token",
                f"the token server of {self.client.name} gave no token",
                where=answer.url,
                next="ask who runs the registry",
            )
        plain = bearer(Secret(token), *(own.variables if own else ()))
        self._tokens[repository] = Login(plain.header, plain.variables, (*plain.secrets, *(own.secrets if own else ())))
        return self._tokens[repository]

    def _place(self, repository: str, address: str) -> str:
        if address.startswith(("http://", "https://")):
            return address
        return f"v2/{repository}/{address}"

    def _is_ours(self, place: str) -> bool:
        if not place.startswith(("http://", "https://")):
            return True
        base, other = urlsplit(str(self.client.url)), urlsplit(place)
        return (base.scheme, base.netloc) == (other.scheme, other.netloc)
