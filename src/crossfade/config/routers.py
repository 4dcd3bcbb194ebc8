"""The words of `crossfade.yaml` about what carries the traffic, and what each router can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from crossfade.config.section import Section, kind_or, kinds

StickyKind = Literal["cookie", "header", "user_cookie"]
EVERY_KEY: frozenset[StickyKind] = frozenset({"cookie", "header", "user_cookie"})
Listen = Annotated[str, Field(pattern=r"^[^\s]*:\d+$")]
"""An address that users reach, HOST:PORT."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a router can do; `crossfade check` refuses a config that asks for more."""

    resolution: int = 1
    """Smallest step of a weight in basis points."""
    sticky: frozenset[StickyKind] = EVERY_KEY
    """Kinds of stickiness."""
    override: bool = True
    """Whether a header chooses the side."""
    counts: bool = True
    """Whether it counts requests and latency for each arm by itself."""
    mirror: bool = False
    """Whether it can send copies of requests to the new version."""


class Sticky(Section):
    """What keeps a user on one side of a split while the weight grows."""

    cookie: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]+$", description="Name of a bucket cookie that the router sets."
    )
    header: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9-]+$", description="Request header whose value is hashed (a user id)."
    )
    user_cookie: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_-]+$", description="The application's own cookie whose value is hashed."
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if sum(key is not None for key in (self.cookie, self.header, self.user_cookie)) != 1:
            msg = "name exactly one of cookie, header and user_cookie"
            raise ValueError(msg)
        return self

    @property
    def key(self) -> tuple[StickyKind, str]:
        """The kind of key, and its name.

        >>> Sticky(header="X-User").key
        ('header', 'X-User')
        """
        if self.cookie is not None:
            return "cookie", self.cookie
        return ("header", self.header) if self.header is not None else ("user_cookie", self.user_cookie or "")


class _Router(Section):
    can: ClassVar[Capabilities] = Capabilities()

    listen: Listen = Field(default="127.0.0.1:8080", description="Address that users reach, HOST:PORT.")
    sticky: Sticky | None = Field(default=None, description="Absent: every request is split on its own.")
    override_header: str = Field(
        default="X-Canary",
        pattern=r"^[A-Za-z0-9-]+$",
        description="`always` sends a request to the canary, `never` to stable.",
    )


class CaddyRouter(_Router):
    """Traffic goes through Caddy: our own child, or one that runs already."""

    kind: Literal["caddy"] = Field(default="caddy", description="The kind of router.")
    admin: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Admin API of an existing Caddy, such as http://127.0.0.1:2019; a managed Caddy is started when absent.",
    )


class HAProxyRouter(_Router):
    """Traffic goes through HAProxy (2.4 or newer): our own child, or one that runs already."""

    kind: Literal["haproxy"] = Field(default="haproxy", description="The kind of router.")
    binary: str = Field(default="haproxy", min_length=1, description="The program, by name or path.")
    socket: str | None = Field(
        default=None,
        description="Runtime API of an existing HAProxy (a socket of level admin) that includes our part; a managed one is started when absent.",
    )


class NginxRouter(_Router):
    """Traffic goes through nginx with njs (the `nginx` extra brings both): our own child."""

    can: ClassVar[Capabilities] = Capabilities(mirror=True)

    kind: Literal["nginx"] = Field(default="nginx", description="The kind of router.")
    binary: str | None = Field(
        default=None, min_length=1, description="The program; that of the `nginx` extra when absent."
    )


class EnvoyRouter(_Router):
    """Traffic goes through Envoy (the `envoy` extra brings it): our own child."""

    can: ClassVar[Capabilities] = Capabilities(mirror=True)

    kind: Literal["envoy"] = Field(default="envoy", description="The kind of router.")
    binary: str | None = Field(
        default=None, min_length=1, description="The program; that of the `envoy` extra when absent."
    )


class TraefikRouter(_Router):
    """Traffic goes through Traefik 3 (3.7 or newer; the `traefik` extra brings it): our own child, with a plugin of ours."""

    can: ClassVar[Capabilities] = Capabilities(mirror=True)

    kind: Literal["traefik"] = Field(default="traefik", description="The kind of router.")
    binary: str | None = Field(
        default=None, min_length=1, description="The program; that of the `traefik` extra when absent."
    )


class GatewayApiRouter(_Router):
    """Traffic goes through an HTTPRoute of the Kubernetes Gateway API: Envoy Gateway, Istio, Traefik, NGINX, Cilium."""

    can: ClassVar[Capabilities] = Capabilities(resolution=1, sticky=frozenset(), counts=False, mirror=True)

    kind: Literal["gateway-api"] = Field(default="gateway-api", description="The kind of router.")
    route: str | None = Field(
        default=None, description="Name of the HTTPRoute; made and named after the component when absent."
    )
    gateway: str | None = Field(
        default=None,
        min_length=1,
        description="Gateway that the route belongs to, NAME or NAMESPACE/NAME; it must be named.",
    )
    hostnames: tuple[str, ...] = Field(default=(), description="Hosts that the route answers for; all when empty.")


class IngressNginxRouter(_Router):
    """Traffic goes through ingress-nginx, by its canary annotations on an Ingress of our own beside the user's."""

    can: ClassVar[Capabilities] = Capabilities(resolution=1, sticky=frozenset(), counts=False)

    kind: Literal["ingress-nginx"] = Field(default="ingress-nginx", description="The kind of router.")
    ingress: str = Field(min_length=1, description="Name of the existing Ingress that leads to the component.")


class PluginRouter(_Router):
    """A router of another package, found by the entry point group `crossfade.routers`."""

    kind: Literal["plugin"] = Field(default="plugin", description="The kind of router.")
    name: str = Field(min_length=1, description="Name of the entry point.")
    options: dict[str, Any] = Field(default_factory=dict, description="What the package wants to know.")


Router = Annotated[
    Annotated[
        CaddyRouter
        | HAProxyRouter
        | NginxRouter
        | EnvoyRouter
        | TraefikRouter
        | GatewayApiRouter
        | IngressNginxRouter
        | PluginRouter,
        Field(discriminator="kind"),
    ],
    kind_or("caddy"),
    kinds("caddy", "haproxy", "nginx", "envoy", "traefik", "gateway-api"),
]
