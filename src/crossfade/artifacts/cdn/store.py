"""Where the files lie: whole objects that are read, and put only where nothing or something known lies.

Three stores speak through one library: an S3-compatible one, Google's and Azure's compare and swap by themselves. A
local folder cannot, so whoever writes into it holds a lock, and a file's identity is its bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

import orjson

from crossfade.artifacts.cdn.headers import Rule, stored
from crossfade.artifacts.credentials import masked
from crossfade.artifacts.port import MissingError, RefusedError, Secret
from crossfade.config.publishing import CdnRegistry
from crossfade.core.errors import BadInputError, CrossfadeError, UnreachableError
from crossfade.core.locks import locked_in_thread

if TYPE_CHECKING:
    from obstore import UpdateVersion
    from obstore.store import ObjectStore

LOCK = ".crossfade.lock"
"""In a local folder: held by whoever writes into it."""
RULES = ".crossfade-headers.json"
"""In a local folder: which headers its files have, for whoever serves it."""
_RETRIES = 4
T = TypeVar("T")


class Stamp(NamedTuple):
    """What tells one state of an object from another: S3's ETag, Google's generation."""

    e_tag: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Held:
    """An object: its bytes, the headers that are kept with it, and which state this is."""

    body: bytes
    headers: Mapping[str, str]
    stamp: Stamp


class Store(Protocol):
    """Objects by their paths. UnreachableError, RefusedError and MissingError (no such bucket) come from each method."""

    @property
    def where(self) -> str:
        """What it is called in messages."""

    async def read(self, path: str) -> Held | None:
        """An object, or None where there is none."""

    async def put(self, path: str, body: bytes, headers: Mapping[str, str], *, replaces: Stamp | None) -> bool:
        """Write a whole object where nothing is (`replaces=None`) or what was read is unchanged; False: neither holds.

        False may also mean that an answer was lost and the object is ours: whoever gets it reads again.
        """

    async def sizes(self, folder: str) -> Mapping[str, int]:
        """Bytes of every object below a folder, by paths below it."""

    async def folders(self, folder: str) -> tuple[str, ...]:
        """Names of the folders directly in a folder (`""` is the top)."""


def open_store(
    settings: CdnRegistry, rules: Sequence[Rule], *, root: Path, key: Secret | None, secret: Secret | None
) -> Store:
    """The store of a registry. `root` is what a relative `file://` path is relative to; `rules` tell of its headers.

    `key` and `secret` are S3's two keys, or Azure's account and its key; for Google `secret` is a service account's JSON.
    Nothing is connected to yet. BadInputError: these settings make no store.
    """
    scheme, _, rest = settings.store.partition("://")
    if scheme == "file":
        return FolderStore(root / rest, tuple(rules))
    return ObjectStoreOf(settings.store, _remote(settings, key, secret), tuple(each for each in (key, secret) if each))


def _remote(settings: CdnRegistry, key: Secret | None, secret: Secret | None) -> ObjectStore:
    from obstore.exceptions import BaseError  # noqa: PLC0415 - takes a while, and only this needs it
    from obstore.store import AzureStore, GCSStore, S3Store  # noqa: PLC0415 - likewise

    place = urlsplit(settings.store)
    prefix = place.path.strip("/") or None
    patience = timedelta(seconds=settings.timeout)
    options: dict[str, Any] = {"timeout": patience, "allow_http": (settings.endpoint or "").startswith("http://")}
    common: dict[str, Any] = {
        "prefix": prefix,
        "client_options": options,
        "retry_config": {"max_retries": _RETRIES, "retry_timeout": patience * 2},
    }
    own: dict[str, Any]
    endpoint: dict[str, Any] = {"endpoint": settings.endpoint} if settings.endpoint else {}
    try:
        if place.scheme == "gs":
            own = {"service_account_key": secret.value} if secret else {}
            base: dict[str, Any] = {"base_url": settings.endpoint} if settings.endpoint else {}
            return GCSStore(place.netloc, **common, **own, **base)
        if place.scheme == "az":
            own = {"account_name": key.value} if key else {}
            own |= {"account_key": secret.value} if secret else {}
            return AzureStore(place.netloc, **common, **own, **endpoint)
        own = {"access_key_id": key.value, "secret_access_key": secret.value} if key and secret else {}
        return S3Store(place.netloc, **common, **own, **endpoint, region=settings.region or "us-east-1")
    except (BaseError, ValueError) as error:
        said = masked(_first_line(error), [each for each in (key, secret) if each])
        raise BadInputError("cdn.bad-store", f"these settings make no store: {said}", where=settings.store) from None


@dataclass(frozen=True, slots=True)
class ObjectStoreOf:
    """A store that compares and swaps by itself."""

    where: str
    objects: ObjectStore = field(repr=False)
    secrets: tuple[Secret, ...] = ()

    async def read(self, path: str) -> Held | None:
        """An object, or None where there is none."""
        import obstore  # noqa: PLC0415 - takes a while, and only this needs it

        with self._told(path):
            try:
                found = await obstore.get_async(self.objects, path)
                body = bytes(await found.bytes_async())
            except FileNotFoundError as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None
            stamp = Stamp(found.meta.get("e_tag"), found.meta.get("version"))
            return Held(body, {str(name): value for name, value in found.attributes.items()}, stamp)

    async def put(self, path: str, body: bytes, headers: Mapping[str, str], *, replaces: Stamp | None) -> bool:
        """Write where nothing is, or what was read is unchanged."""
        import obstore  # noqa: PLC0415 - takes a while, and only this needs it
        from obstore.exceptions import (  # noqa: PLC0415 - likewise
            AlreadyExistsError,
            BaseError,
            PreconditionError,
        )

        known: UpdateVersion = {}
        if replaces is not None and replaces.e_tag is not None:
            known["e_tag"] = replaces.e_tag
        if replaces is not None and replaces.version is not None:
            known["version"] = replaces.version
        with self._told(path):
            try:
                await obstore.put_async(
                    self.objects,
                    path,
                    body,
                    attributes=dict(stored(headers)),
                    mode=known or "create",
                    use_multipart=False,
                )
            except (AlreadyExistsError, PreconditionError):
                return False
            except BaseError as error:
                # S3 answers 409 to two conditional writes at once: the other one may have won.
                if "409 Conflict" in str(error):
                    return False
                raise
        return True

    async def sizes(self, folder: str) -> Mapping[str, int]:
        """Bytes of every object below a folder."""
        import obstore  # noqa: PLC0415 - takes a while, and only this needs it

        start = folder.rstrip("/") + "/"
        with self._told(folder):
            found: dict[str, int] = {}
            async for some in obstore.list(self.objects, folder.rstrip("/")):
                found |= {each["path"].removeprefix(start): each["size"] for each in some}
            return found

    async def folders(self, folder: str) -> tuple[str, ...]:
        """Names of the folders directly in a folder."""
        import obstore  # noqa: PLC0415 - takes a while, and only this needs it

        with self._told(folder):
            found = await obstore.list_with_delimiter_async(self.objects, folder.rstrip("/") or None)
            return tuple(sorted(each.rstrip("/").rsplit("/", 1)[-1] for each in found["common_prefixes"]))

    @contextmanager
    def _told(self, path: str) -> Generator[None]:
        """Faults of the library in our words."""
        from obstore.exceptions import (  # noqa: PLC0415 - takes a while, and only this needs it
            BaseError,
            PermissionDeniedError,
            UnauthenticatedError,
        )

        try:
            yield
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise RefusedError(
                "cdn.refused",
                f"the store refuses {path}: {self._said(error)}",
                where=self.where,
                next="check `key` and `secret` of the registry: they must be valid and allowed to read, list and write",
            ) from None
        except FileNotFoundError as error:
            raise MissingError(
                "cdn.no-bucket",
                f"the store has no place for {path}: {self._said(error)}",
                where=self.where,
                next="make the bucket first, or correct `store`",
            ) from None
        except (BaseError, OSError) as error:
            raise UnreachableError(
                "cdn.unreachable",
                f"the store did not do its part for {path}: {self._said(error)}",
                where=self.where,
                next="run the same command again once it answers: it goes on where it stopped",
            ) from None

    def _said(self, error: BaseException) -> str:
        return masked(_first_line(error), self.secrets)


@dataclass(frozen=True, slots=True)
class FolderStore:
    """A local folder, which any web server can hand out."""

    folder: Path
    rules: Sequence[Rule] = ()

    @property
    def where(self) -> str:
        """What it is called in messages."""
        return f"file://{self.folder}"

    async def read(self, path: str) -> Held | None:
        """An object, or None where there is none."""
        return await self._done(path, lambda store: _read(store, path)) if self.folder.exists() else None

    async def put(self, path: str, body: bytes, headers: Mapping[str, str], *, replaces: Stamp | None) -> bool:
        """Write where nothing is, or what was read is unchanged. Headers follow from rules (`serving`)."""
        del headers

        def write(store: ObjectStore) -> bool:
            import obstore  # noqa: PLC0415 - takes a while, and only this needs it

            with locked_in_thread(self.folder / LOCK):
                now = _read(store, path)
                if (now.stamp if now else None) != replaces:
                    return False
                self._keep_rules(store)
                obstore.put(store, path, body, use_multipart=False)
                return True

        return await self._done(path, write, make=True)

    async def sizes(self, folder: str) -> Mapping[str, int]:
        """Bytes of every object below a folder."""

        def measure(_: ObjectStore) -> Mapping[str, int]:
            top = self.folder / folder
            files = [each for each in top.rglob("*") if each.is_file()]
            return {each.relative_to(top).as_posix(): each.stat().st_size for each in files}

        return await self._done(folder, measure) if self.folder.exists() else {}

    async def folders(self, folder: str) -> tuple[str, ...]:
        """Names of the folders directly in a folder."""

        def look(_: ObjectStore) -> tuple[str, ...]:
            top = self.folder / folder
            return tuple(sorted(each.name for each in top.iterdir() if each.is_dir())) if top.is_dir() else ()

        return await self._done(folder, look) if self.folder.exists() else ()

    def _keep_rules(self, store: ObjectStore) -> None:
        """Let the folder say which headers its files have, before there is a file that needs them."""
        import obstore  # noqa: PLC0415 - takes a while, and only this needs it

        text = orjson.dumps([asdict(each) for each in self.rules], option=orjson.OPT_INDENT_2)
        now = _read(store, RULES)
        if now is None or now.body != text:
            obstore.put(store, RULES, text, use_multipart=False)

    async def _done(self, path: str, work: Callable[[ObjectStore], T], *, make: bool = False) -> T:
        """`work` in a thread, with faults in our words."""
        from obstore.exceptions import (  # noqa: PLC0415 - takes a while, and only this needs it
            BaseError,
            PermissionDeniedError,
        )
        from obstore.store import LocalStore  # noqa: PLC0415 - likewise

        def run() -> T:
            return work(LocalStore(self.folder, mkdir=make))

        try:
            return await asyncio.to_thread(run)
        except CrossfadeError:
            raise
        except (BaseError, OSError) as error:
            what = f"{path or 'the folder'} cannot be read or written: {_first_line(error)}"
            if isinstance(error, PermissionError | PermissionDeniedError) or "Permission denied" in str(error):
                advice = "let the folder belong to whoever publishes"
                raise RefusedError("cdn.refused", what, where=self.where, next=advice) from None
            # A disk that is full or not mounted is mended without anybody changing a file of ours.
            advice = "check that the folder is there and has space left, then run the same command again"
            raise UnreachableError("cdn.unreachable", what, where=self.where, next=advice) from None


def _read(store: ObjectStore, path: str) -> Held | None:
    import obstore  # noqa: PLC0415 - takes a while, and only this needs it

    try:
        body = bytes(obstore.get(store, path).bytes())
    except FileNotFoundError:
        return None
    return Held(body, {}, Stamp(hashlib.sha256(body).hexdigest(), None))


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split("\n\nDebug source", maxsplit=1)[0].split())[:400]
