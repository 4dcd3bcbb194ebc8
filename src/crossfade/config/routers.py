"""The words of `crossfade.yaml` about what carries the traffic."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from crossfade.config.section import Section, Shorthand, kinds


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


class CaddyRouter(Section):
    """Traffic goes through Caddy: our own child, or one that runs already."""

    shorthand: ClassVar[Shorthand | None] = kinds("caddy")

    kind: Literal["caddy"] = Field(default="caddy", description="The kind of router.")
    listen: str = Field(
        default="127.0.0.1:8080", pattern=r"^[^\s]*:\d+$", description="Address that users reach, HOST:PORT."
    )
    admin: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="Admin API of an existing Caddy, such as http://127.0.0.1:2019; a managed Caddy is started when absent.",
    )
    sticky: Sticky | None = Field(default=None, description="Absent: every request is split on its own.")
    override_header: str = Field(
        default="X-Canary",
        pattern=r"^[A-Za-z0-9-]+$",
        description="`always` sends a request to the canary, `never` to stable.",
    )


Router = CaddyRouter
