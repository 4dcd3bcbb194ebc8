"""From a registry's words in `crossfade.yaml` to the registry: its store, its layout, its caches, its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from crossfade.artifacts.cdn.caches import Cache, Caches
from crossfade.artifacts.cdn.checking import PublicSide
from crossfade.artifacts.cdn.headers import Rule, rules
from crossfade.artifacts.cdn.layout import Layout
from crossfade.artifacts.cdn.purge import cloud_cdn, cloudflare, cloudfront, fastly
from crossfade.artifacts.cdn.purge.aws_signature import Keys
from crossfade.artifacts.cdn.purge.http import HttpCache
from crossfade.artifacts.cdn.registry import Cdn
from crossfade.artifacts.cdn.store import open_store
from crossfade.artifacts.credentials import Login, bearer, resolve
from crossfade.artifacts.http import RegistryClient
from crossfade.artifacts.manners import Manners
from crossfade.artifacts.port import Secret
from crossfade.config.publishing import CdnRegistry, Purge, SecretReference
from crossfade.core.clock import Clock, SystemClock
from crossfade.core.errors import BadInputError

_RATE = 200.0
"""Requests in a second: CDNs and their APIs are made for more."""


def open_cdn(
    name: str,
    settings: CdnRegistry,
    root: Path,
    environ: Mapping[str, str],
    *,
    by: str,
    clock: Clock | None = None,
) -> Cdn:
    """The registry `name` of a file in the folder `root`; `by` is who publishes, as histories show it.

    Secrets come from `environ`. Nothing is connected to yet; whoever opens it calls `aclose`. BadInputError: a word that
    cannot be used, or a variable that is not set.
    """
    where = f"registries.{name}"
    now = clock or SystemClock()
    key = _secret(settings.key, environ, where=f"{where}.key")
    secret = _secret(settings.secret, environ, where=f"{where}.secret")
    layout = Layout.of(settings, where=where)
    each = rules_of(settings, where=where)
    manners = Manners(rate=_RATE, timeout=settings.timeout)
    public = None
    if settings.public_url is not None:
        public = PublicSide(RegistryClient(name, settings.public_url, manners=manners, clock=now), each)
    before = _Before(name, settings, environ, manners, now, (key, secret))
    return Cdn(
        name,
        open_store(settings, each, root=root, key=key, secret=secret),
        layout,
        each,
        Caches([before.cache(number) for number in range(len(settings.purge))]),
        now,
        by,
        public,
        settings.pointer_max_age,
    )


def rules_of(settings: CdnRegistry, *, where: str) -> tuple[Rule, ...]:
    """The headers of a registry's files."""
    layout = Layout.of(settings, where=where)
    return rules(layout, browsers=settings.pointer_max_age, shared=settings.pointer_shared_max_age)


@dataclass(frozen=True, slots=True)
class _Before:
    """What is in front of a registry's store, as the file says."""

    registry: str
    settings: CdnRegistry
    environ: Mapping[str, str]
    manners: Manners
    clock: Clock
    store_keys: tuple[Secret | None, Secret | None]

    def cache(self, number: int) -> Cache:
        """One of its caches."""
        purge, where = self.settings.purge[number], f"registries.{self.registry}.purge.{number}"
        public = self.settings.public_url.rstrip("/") if self.settings.public_url else None
        root = urlsplit(public).path + "/" if public else "/"
        token = _secret(purge.token, self.environ, where=f"{where}.token")

        def client(url: str, login: Login | None) -> RegistryClient:
            name = f"{self.registry}.purge.{number}"
            return RegistryClient(name, purge.endpoint or url, login=login, manners=self.manners, clock=self.clock)

        match purge.kind:
            case "cloudfront":
                keys = _aws_keys(token, self.store_keys, self.environ, where=where)
                return cloudfront.CloudFront(client(cloudfront.API, None), purge.target, root, keys, self.clock)
            case "cloud-cdn":
                project, url_map = _project_and_map(purge.target, where=f"{where}.target")
                host = urlsplit(public).hostname if public else None
                login = _login(_needed(token, purge, where), purge)
                return cloud_cdn.CloudCdn(client(cloud_cdn.API, login), project, url_map, root, host)
            case "fastly":
                return fastly.Fastly(client(fastly.API, None), purge.target, _needed(token, purge, where), public)
            case "cloudflare":
                login = _login(_needed(token, purge, where), purge)
                return cloudflare.Cloudflare(client(cloudflare.API, login), purge.target, public)
            case "http":
                return HttpCache(client(purge.target, _login(token, purge) if token else None))


def _project_and_map(target: str, *, where: str) -> tuple[str, str]:
    project, _, url_map = target.partition("/")
    if not (project and url_map):
        raise BadInputError("cdn.bad-target", "the target of cloud-cdn is PROJECT/URL-MAP", where=where)
    return project, url_map


def _login(token: Secret, purge: Purge) -> Login:
    return bearer(token, *((purge.token.env,) if purge.token else ()))


def _aws_keys(
    token: Secret | None, store_keys: tuple[Secret | None, Secret | None], environ: Mapping[str, str], *, where: str
) -> Keys:
    """CloudFront's keys: `token` as ID:SECRET or ID:SECRET:SESSION, else the store's, else those of the environment."""
    key, secret = store_keys
    if token is not None:
        parts = token.value.split(":", 2)
        if len(parts) > 1 and all(parts):
            return Keys(parts[0], Secret(parts[1]), Secret(parts[2]) if parts[2:] else None)
        raise BadInputError(
            "cdn.bad-aws-token",
            "the token of cloudfront is no pair of keys",
            where=f"{where}.token",
            next="let the variable hold ACCESS-KEY-ID:SECRET-ACCESS-KEY, and :SESSION-TOKEN for temporary ones",
        )
    if key is not None and secret is not None:
        return Keys(key.value, secret)
    own, its = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if own and its:
        session = environ.get("AWS_SESSION_TOKEN")
        return Keys(own, Secret(its), Secret(session) if session else None)
    raise BadInputError(
        "cdn.purge-without-keys",
        "there are no keys to tell cloudfront with",
        where=where,
        next="give it a `token` (ID:SECRET), or the registry `key` and `secret`, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    )


def _needed(token: Secret | None, purge: Purge, where: str) -> Secret:
    if token is None:
        raise BadInputError(
            "cdn.purge-without-token",
            f"{purge.kind} is told nothing without a token",
            where=where,
            next="name the variable that holds it: `token: $NAME`",
        )
    return token


def _secret(reference: SecretReference | None, environ: Mapping[str, str], *, where: str) -> Secret | None:
    return resolve(reference, environ, where=where) if reference is not None else None
