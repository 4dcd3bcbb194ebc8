"""A named metric from CloudWatch: one statistic by period (`GetMetricData`, JSON protocol, signed by `awscrt`).

Both arms are asked for in one request, which is what CloudWatch charges for. A value stands at the start of its period, so the
period that is not over is left out. Values come late and are revised: good for a rule over minutes, not for counting each request
once. So there are no counts from here.
"""

from __future__ import annotations

import asyncio
import io
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import orjson

from crossfade.analysis.sources.port import ARMS, Answer, Series, Unknown
from crossfade.analysis.sources.templates import Names, fill
from crossfade.analysis.sources.web import CODE, MISSHAPEN, Client, Reply, refusal
from crossfade.analysis.values import Arm
from crossfade.config.named_metrics import CloudWatchMetric
from crossfade.core.errors import UnreachableError

_WHO = "CloudWatch"
_TARGET = "GraniteServiceVersion20100801.GetMetricData"
_PAGES = 10
_THROTTLED = ("Throttl", "RequestLimitExceeded", "LimitExceeded")
_REFUSED = ("AccessDenied", "UnrecognizedClient", "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredToken")


class CloudWatchStatistic:
    """The values of the statistic; see `port.Metric`."""

    def __init__(self, settings: CloudWatchMetric, client: Client, *, names: Names) -> None:
        self._settings = settings
        self._client = client
        domain = "amazonaws.com.cn" if settings.region.startswith("cn-") else "amazonaws.com"
        self._url = httpx.URL(settings.endpoint or f"https://monitoring.{settings.region}.{domain}").join("/")
        wanted = {arm: {name: fill(value, names[arm]) for name, value in settings.dimensions.items()} for arm in ARMS}
        self._ids: Mapping[Arm, str] = {
            "stable": "stable",
            "canary": "stable" if wanted["canary"] == wanted["stable"] else "canary",
        }
        self._queries = [self._query(arm, wanted[arm]) for arm in ARMS if self._ids[arm] == arm]

    def _query(self, arm: Arm, dimensions: Mapping[str, str]) -> dict[str, Any]:
        settings = self._settings
        metric = {
            "Namespace": settings.namespace,
            "MetricName": settings.metric,
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
        }
        period = round(settings.period)
        return {"Id": arm, "MetricStat": {"Metric": metric, "Period": period, "Stat": settings.statistic}}

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:
        """The values in the last `window` seconds, or why there are none."""
        period = self._settings.period
        begin = math.floor((now - max(window, 3 * period)) / period) * period
        asked: dict[str, Any] = {
            "MetricDataQueries": self._queries,
            "StartTime": begin,
            "EndTime": math.ceil(now),
            "ScanBy": "TimestampAscending",
        }
        points: dict[str, list[tuple[float, float]]] = {}
        ends: dict[str, str] = {}
        for _ in range(_PAGES):  # `NamedSource` tells what is raised here, as it does of every metric
            answer = await self._post(orjson.dumps(asked), now)
            if not answer.ok:
                return dict.fromkeys(ARMS, _refused(answer))
            try:
                _gather(answer.json["MetricDataResults"], points, ends)
                token = answer.json.get("NextToken")
            except MISSHAPEN:
                return dict.fromkeys(ARMS, Unknown("the answer is not CloudWatch's", passing=True))
            if not token:
                break
            asked["NextToken"] = token
        return {arm: self._answer(points.get(of, []), ends.get(of, ""), now) for arm, of in self._ids.items()}

    def _answer(self, points: list[tuple[float, float]], end: str, now: float) -> Answer:
        """One arm's finished periods. Where CloudWatch says that some are missing, none is believed."""
        what = f"{self._settings.namespace} {self._settings.metric}"
        if end == "Forbidden":
            return Unknown(f"{_WHO} does not allow {what} to be read", passing=True)
        if end != "Complete" and end:
            return Unknown(f"{_WHO} has only part of {what} at the moment ({end})", passing=True)
        whole = sorted(point for point in points if point[0] + self._settings.period <= now)
        return Series(whole) if whole else Unknown(f"{_WHO} has no value for {what} with these dimensions")

    async def _post(self, body: bytes, now: float) -> Reply:
        headers = {
            "Host": self._url.netloc.decode(),
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": _TARGET,
        }
        signed = await self._signed(headers, body, now)
        request = self._client.http.build_request("POST", self._url, headers=signed, content=body)
        return await self._client.reply(request, _WHO)

    async def _signed(self, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, str]:
        """The headers with AWS's signature, version 4; UnreachableError where a variable or the package is missing."""
        key = self._client.variable("AWS_ACCESS_KEY_ID", "the access key's id")
        secret = self._client.variable("AWS_SECRET_ACCESS_KEY", "the secret access key")
        try:
            from awscrt.auth import (  # type: ignore[import-untyped]  # noqa: PLC0415 - an optional part, without types
                AwsCredentialsProvider,
                AwsSigningConfig,
                aws_sign_request,
            )
            from awscrt.http import HttpHeaders, HttpRequest  # type: ignore[import-untyped]  # noqa: PLC0415 - as above
        except ImportError as error:
            what, how = "it needs awscrt, which is not installed", "pip install 'crossfade[cloudwatch]'"
            raise UnreachableError(CODE, what, next=how) from error

        session = self._client.environ.get("AWS_SESSION_TOKEN") or None
        config = AwsSigningConfig(
            credentials_provider=AwsCredentialsProvider.new_static(key, secret, session),
            region=self._settings.region,
            service="monitoring",
            date=datetime.fromtimestamp(now, UTC),
        )
        request = HttpRequest("POST", "/", HttpHeaders(list(headers.items())), io.BytesIO(body))
        made = await asyncio.wrap_future(aws_sign_request(request, config))
        return dict(made.headers)


def _gather(results: list[dict[str, Any]], points: dict[str, list[tuple[float, float]]], ends: dict[str, str]) -> None:
    """Add one page's values to `points`, and how each result ended to `ends`."""
    for each in results:
        of = str(each["Id"])
        known = zip(each.get("Timestamps") or [], each.get("Values") or [], strict=True)
        points.setdefault(of, []).extend((_seconds(at), float(value)) for at, value in known)
        ends[of] = str(each.get("StatusCode") or "")


def _seconds(at: Any) -> float:
    """A time as the JSON protocol has it: seconds, or ISO 8601."""
    return datetime.fromisoformat(at).timestamp() if isinstance(at, str) else float(at)


def _refused(answer: Reply) -> Unknown:
    """What an error means. AWS puts its name into the body, and throttles with 400 as well.

    Its message may repeat what was signed, so only the name is told.
    """
    name = str(answer.object.get("__type", "")).rpartition("#")[2][:80]
    status = answer.status
    if any(word in name for word in _THROTTLED):
        status = httpx.codes.TOO_MANY_REQUESTS
    elif any(word in name for word in _REFUSED):
        status = httpx.codes.FORBIDDEN
    return refusal(_WHO, status, answer.headers, name)
