"""A named metric from an address that answers JSON: the number that stands in one of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx

from crossfade.analysis.sources.port import Answer, Unknown, Value
from crossfade.analysis.sources.templates import Names, both
from crossfade.analysis.sources.web import Client, refusal
from crossfade.analysis.values import Arm
from crossfade.config.named_metrics import HttpMetric


class JsonField:
    """The number in the field; see `port.Metric`."""

    def __init__(self, settings: HttpMetric, client: Client, *, names: Names) -> None:
        self._settings = settings
        self._client = client
        self._names = names

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:  # noqa: ARG002 - only the present is known
        """The number as it is now, or why there is none."""
        return await both(self._settings.url, self._names, self._value, _encoded)

    async def _value(self, url: str) -> Answer:
        headers = {"Accept": "application/json", **self._client.credentials(self._settings)}
        who = url.partition("?")[0]  # what stands behind may be a secret
        try:
            request = self._client.http.build_request("GET", url, headers=headers)
        except (httpx.InvalidURL, ValueError):
            return Unknown(f"{who} is not an address")
        answer = await self._client.reply(request, who)
        if not answer.ok:
            return refusal(who, answer.status, answer.headers, "")
        if answer.json is None:
            return Unknown(f"{who} answered no JSON")
        found = field(answer.json, self._settings.field or "")
        where = f"`{self._settings.field}`" if self._settings.field else "the body"
        return Value.of(found) or Unknown(f"{where} of {who} is {_called(found)}, not a number")


def _encoded(value: str) -> str:
    return quote(value, safe="")


def field(body: Any, path: str) -> Any:
    """What stands at a path with dots, digits being places in lists; None where nothing does.

    >>> field({"data": [{"value": 3}]}, "data.0.value"), field(7, ""), field({"a": 1}, "b")
    (3, 7, None)
    """
    for part in filter(None, path.split(".")):
        if isinstance(body, dict) and part in body:
            body = body[part]
        elif isinstance(body, list) and part.isdigit() and int(part) < len(body):
            body = body[int(part)]
        else:
            return None
    return body


def _called(found: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", float: "no finite number"}
    return names.get(type(found), "not there")
