"""CloudWatch's GetMetricData: against moto, which speaks the real protocol, and against every answer that it may give."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time

import httpx
import pytest
from answering_server import Answer, Server

from crossfade.analysis.sources.cloudwatch import CloudWatchStatistic
from crossfade.analysis.sources.port import Series, Unknown
from crossfade.analysis.sources.templates import names
from crossfade.analysis.sources.web import Client
from crossfade.config.named_metrics import CloudWatchMetric
from free_ports import free_port

NOW = 1_700_000_065.0
AWS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "aws-s3cret"}
NAMES = names({"stable": "1.0.0", "canary": "1.1.0"}, component="web", environment="live")
DIMENSIONS = {"Service": "{component}", "Version": "{version}"}


def statistic(url, client, environ=None, **more):
    where = {"region": "eu-central-1", "namespace": "Shop", "metric": "Latency", "dimensions": DIMENSIONS}
    settings = CloudWatchMetric(kind="cloudwatch", endpoint=url, **{**where, **more})
    return CloudWatchStatistic(settings, Client(client, AWS if environ is None else environ), names=NAMES)


async def asked(url, *, window=300, now=NOW, **more):
    async with httpx.AsyncClient() as client:
        return await statistic(url, client, **more).ask(window=window, now=now)


@pytest.fixture(scope="module")
def moto(require):
    """The address of a moto server."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command = [require("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(1200):
            with contextlib.suppress(httpx.TransportError):
                httpx.get(f"{url}/moto-api/", timeout=5)
                break
            time.sleep(0.05)
        yield url
    finally:
        process.kill()
        process.wait()


async def put(url, at, values, version):
    """Hand values to CloudWatch, signed as a metric's own requests are."""
    target = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData",
    }
    named = [{"Name": "Service", "Value": "web"}, {"Name": "Version", "Value": version}]
    data = [{"MetricName": "Latency", "Dimensions": named, "Timestamp": at, "Value": value} for value in values]
    body = json.dumps({"Namespace": "Shop", "MetricData": data}).encode()
    async with httpx.AsyncClient() as client:
        headers = {"Host": url.removeprefix("http://"), **target}
        signed = await statistic(url, client)._signed(headers, body, time.time())
        assert (await client.post(url, headers=signed, content=body)).status_code == 200


@pytest.mark.real
async def test_moto_gives_each_arm_its_statistic_by_period(moto):
    now = time.time()
    minute = now // 60 * 60
    await put(moto, minute - 180, [1.0, 3.0], "1.0.0")
    await put(moto, minute - 180, [10.0], "1.1.0")
    await put(moto, minute - 120, [20.0, 40.0], "1.1.0")
    average = await asked(moto, now=now)
    assert [value for _, value in average["stable"].points] == [2.0]
    assert [value for _, value in average["canary"].points] == [10.0, 30.0]
    assert all(minute - 300 <= at <= minute - 60 for at, _ in average["canary"].points)
    highest = await asked(moto, now=now, statistic="Maximum")
    assert [value for _, value in highest["canary"].points] == [10.0, 40.0]
    nobody = await asked(moto, now=now, dimensions={"Version": "{version}-nobody"})
    assert nobody["canary"] == Unknown("CloudWatch has no value for Shop Latency with these dimensions")


@pytest.fixture
def server():
    server = Server()
    yield server
    server.close()


def result(of, *points, status="Complete"):
    return {
        "Id": of,
        "Label": "Latency",
        "Timestamps": [at for at, _ in points],
        "Values": [value for _, value in points],
        "StatusCode": status,
    }


def answered(*results, **more):
    return Answer({"MetricDataResults": list(results), "Messages": [], **more})


async def test_one_signed_request_asks_for_both_arms_and_the_open_period_is_left_out(server):
    early, late, open_one = 1_699_999_920, 1_699_999_980, 1_700_000_040
    server.answer = answered(result("stable", (early, 1.0)), result("canary", (early, 2.0), (late, 3), (open_one, 9.0)))
    found = await asked(server.url, environ={**AWS, "AWS_SESSION_TOKEN": "session-s3cret"})
    assert found == {"stable": Series([(early, 1.0)]), "canary": Series([(early, 2.0), (late, 3.0)])}
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/")
    assert request.headers["x-amz-target"] == "GraniteServiceVersion20100801.GetMetricData"
    assert request.headers["content-type"] == "application/x-amz-json-1.0"
    assert request.headers["x-amz-date"] == "20231114T221425Z"
    assert request.headers["x-amz-security-token"] == "session-s3cret"
    scope = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20231114/eu-central-1/monitoring/aws4_request, SignedHeaders="
    assert request.headers["authorization"].startswith(scope)
    body = json.loads(request.body)
    assert (body["StartTime"], body["EndTime"]) == (1_699_999_740, 1_700_000_065)
    stable, canary = body["MetricDataQueries"]
    assert stable["Id"] == "stable"
    assert canary["MetricStat"] == {
        "Metric": {
            "Namespace": "Shop",
            "MetricName": "Latency",
            "Dimensions": [{"Name": "Service", "Value": "web"}, {"Name": "Version", "Value": "1.1.0"}],
        },
        "Period": 60,
        "Stat": "Average",
    }


async def test_the_signature_is_the_one_that_aws_works_out(server):
    """Worked out a second time by hand (Signature Version 4), from the request as it arrived."""
    import hashlib  # noqa: PLC0415 - only this test signs by hand
    import hmac  # noqa: PLC0415 - as above

    server.answer = answered(result("stable", (1_699_999_920, 1.0)))
    await asked(server.url)
    (request,) = server.requests
    _, _, rest = request.headers["authorization"].partition("SignedHeaders=")
    signed, _, signature = rest.partition(", Signature=")
    lines = [f"{name}:{' '.join(request.headers[name].split())}" for name in signed.split(";")]
    payload = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join(["POST", "/", "", *lines, "", signed, payload])
    scope = "20231114/eu-central-1/monitoring/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", request.headers["x-amz-date"], scope, digest])
    key = b"AWS4aws-s3cret"
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    assert hmac.digest(key, text.encode(), "sha256").hex() == signature
    assert {"host", "x-amz-date"} <= set(signed.split(";"))


async def test_the_same_dimensions_are_asked_for_once_and_pages_are_put_together(server):
    pages = {
        None: answered(result("stable", (1_699_999_920, 1.0), status="PartialData"), NextToken="more"),
        "more": answered(result("stable", (1_699_999_980, 2.0))),
    }
    server.answer = lambda request: pages[json.loads(request.body).get("NextToken")]
    found = await asked(server.url, dimensions={"Service": "{component}"})
    assert found["stable"] == found["canary"] == Series([(1_699_999_920, 1.0), (1_699_999_980, 2.0)])
    assert [len(json.loads(each.body)["MetricDataQueries"]) for each in server.requests] == [1, 1]


@pytest.mark.parametrize(
    ("answer", "says", "passing"),
    [
        (answered(result("stable"), result("canary")), "CloudWatch has no value for Shop Latency", False),
        (answered(), "CloudWatch has no value for Shop Latency", False),
        (answered(result("canary", (1_699_999_920, 1.0), status="PartialData")), "only part of Shop Latency", True),
        (answered(result("canary", status="InternalError")), "only part of Shop Latency", True),
        (answered(result("canary", status="Forbidden")), "does not allow Shop Latency to be read", True),
        (Answer({"MetricDataResults": [{"Id": "canary", "Timestamps": [1], "Values": []}]}), "not CloudWatch's", True),
        (Answer(b"<html>"), "not CloudWatch's", True),
        (Answer({"__type": "com.amazon#ThrottlingException"}, status=400), "ThrottlingException; it wants", True),
        (
            Answer({"__type": "AccessDeniedException", "message": "aws-s3cret"}, status=400),
            "check the credentials",
            True,
        ),
        (Answer({"__type": "InvalidParameterValueException"}, status=400), "answered 400: InvalidParameter", False),
        (Answer({"__type": "InternalServiceFault"}, status=500), "answered 500", True),
        (Answer(b"", status=503), "answered 503", True),
    ],
)
async def test_what_is_no_value_is_unknown_with_the_reason_and_without_a_secret(server, answer, says, passing):
    server.answer = answer
    found = (await asked(server.url))["canary"]
    assert isinstance(found, Unknown)
    assert (says in found.why, found.passing) == (True, passing), found
    assert "s3cret" not in found.why


async def test_missing_credentials_and_a_missing_package_are_told(server, monkeypatch):
    from crossfade.core.errors import UnreachableError  # noqa: PLC0415 - one test's own

    with pytest.raises(UnreachableError) as caught:
        await asked(server.url, environ={"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE"})
    assert "AWS_SECRET_ACCESS_KEY is not set" in caught.value.what
    monkeypatch.setitem(sys.modules, "awscrt.auth", None)
    with pytest.raises(UnreachableError) as caught:
        await asked(server.url)
    assert caught.value.next == "pip install 'crossfade[cloudwatch]'"
    assert server.requests == []


def test_the_address_follows_from_the_region():
    with httpx.Client() as client:
        assert str(statistic(None, client)._url) == "https://monitoring.eu-central-1.amazonaws.com/"
        assert (
            str(statistic(None, client, region="cn-north-1")._url) == "https://monitoring.cn-north-1.amazonaws.com.cn/"
        )
