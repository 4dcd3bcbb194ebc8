"""What browsers get: the same files, asked for where pages ask for them, with everything that a page depends on.

A store may be right while the CDN in front of it is not: a type that it guesses, a missing CORS header, a year of
caching on a pointer. It is found here, after an upload, and not by the users of a page.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from crossfade.artifacts.answers import Answer
from crossfade.artifacts.cdn.headers import Rule, differences, headers_of
from crossfade.artifacts.cdn.manifest import Manifest, integrity
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.port import ConflictError
from crossfade.artifacts.side_by_side import together
from crossfade.core.errors import UnreachableError

_FOREIGN = {"Origin": "https://page.invalid"}
"""A page on another site is who CORS is for; some servers answer it only when asked."""
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class PublicSide:
    """The files as browsers see them, through `client`, whose address is the store's `public_url`."""

    client: RegistryClient
    rules: Sequence[Rule]

    async def check_version(self, folder: str, manifest: Manifest) -> None:
        """Every file of a version: its bytes and its headers. ConflictError tells what differs, UnreachableError what is absent."""
        paths = list(manifest.files)
        for start in range(0, len(paths), _AT_ONCE):
            some = paths[start : start + _AT_ONCE]
            answers = await together(*(self._get(f"{folder}{path}") for path in some))
            for path, answer in zip(some, answers, strict=True):
                self._check(f"{folder}{path}", manifest.files[path], answer)

    async def check_pointer(self, tag: str, paths: Sequence[str]) -> None:
        """The headers of a pointer's files; not their bytes, which caches may keep for a while.

        ConflictError: a browser would keep them longer than it should, or could not use them.
        """
        answers = await together(*(self._get(f"{tag}/{path}") for path in paths))
        for path, answer in zip(paths, answers, strict=True):
            place = f"{tag}/{path}"
            expected = headers_of(place, self.rules)
            age = expected.pop("Cache-Control")
            found = [*differences(expected, _lower(answer)), *_kept_too_long(age, _lower(answer))]
            self._raise(place, found)

    def _check(self, path: str, digest: str, answer: Answer) -> None:
        found = list(differences(headers_of(path, self.rules), _lower(answer)))
        if integrity(answer.body) != digest:
            found.insert(0, f"its bytes are others ({integrity(answer.body)} instead of {digest})")
        self._raise(path, found)

    async def _get(self, path: str) -> Answer:
        answer = await self.client.request("GET", quote(path), headers=_FOREIGN)
        if answer.missing:
            raise UnreachableError(
                "cdn.not-public",
                f"{path} is in the store, but browsers do not find it",
                where=str(self.client.url),
                next="check that `public_url` leads to the store's folder, and that everybody may read it",
            )
        return answer

    def _raise(self, path: str, found: Sequence[str]) -> None:
        if found:
            raise ConflictError(
                "cdn.served-otherwise",
                f"browsers get {path} otherwise than it was published: {'; '.join(found)}",
                where=str(self.client.url),
                next="let the CDN pass on what the store says, and add what is absent: docs/how-to/publish-to-a-cdn.md",
            )


def _kept_too_long(expected: str, seen: Mapping[str, str]) -> tuple[str, ...]:
    """Why a browser would keep a pointer's file longer than it should.

    >>> _kept_too_long("public, max-age=60", {"cache-control": "public, max-age=60, immutable"})
    ("Cache-Control is 'public, max-age=60, immutable' instead of 'public, max-age=60'",)
    >>> _kept_too_long("public, max-age=60", {"cache-control": "max-age=30"})
    ()
    """
    said = seen.get("cache-control", "")
    age = re.search(r"(?<![a-z-])max-age=(\d+)", said)
    wanted = re.search(r"(?<![a-z-])max-age=(\d+)", expected)
    short = "no-store" in said or "no-cache" in said
    fits = age is not None and wanted is not None and int(age[1]) <= int(wanted[1]) and "immutable" not in said
    return () if short or fits else (f"Cache-Control is {said!r} instead of {expected!r}",)


def _lower(answer: Answer) -> dict[str, str]:
    """The headers by their names in lower case. Letting in the page that asks is the same as letting in all."""
    found = {name.lower(): value for name, value in answer.headers.items()}
    if found.get("access-control-allow-origin") == _FOREIGN["Origin"]:
        found["access-control-allow-origin"] = "*"
    return found
