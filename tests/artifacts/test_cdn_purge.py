"""Caches are told as their makers document it: exact requests, read by a real server on loopback."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest
from aiohttp import web
from cdn_world import NAMES, artifact, settings, shared_moto

from crossfade.artifacts.cdn.caches import Moved
from crossfade.artifacts.cdn.opening import open_cdn
from crossfade.artifacts.cdn.purge.aws_signature import Keys, Scope, signed
from crossfade.artifacts.port import Coordinate, Secret
from crossfade.core.clock import VirtualClock
from crossfade.core.errors import BadInputError, UnreachableError

MOVED = Moved("app/v1", ("app/v1/app.js", "app/v1/assets/a b.css"), "app/v1 7")
ENVIRON = {**NAMES, "TOKEN": "the-token-4711", "AWS": "AKIDEXAMPLE:wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
NOON = 1440938160.0  # 2015-08-30T12:36:00Z, the time of AWS's examples


class Recorder:
    """An API that writes down what it is asked, and answers what a test says."""

    def __init__(self):
        self.asked, self.answers, self.answer = [], [], web.json_response({"success": True})

    async def handle(self, request):
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.method, request.raw_path, headers, await request.read()))
        status, body = self.answers.pop(0) if self.answers else (200, {"success": True, "status": "ok"})
        return web.json_response(body, status=status)


@pytest.fixture
async def api():
    recorder = Recorder()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", recorder.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    recorder.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    yield recorder
    await runner.cleanup()


@pytest.fixture
def opened(tmp_path, api):
    def make(kind, target, *, public_url="https://cdn.example.com/files"):
        token = "$AWS" if kind == "cloudfront" else "$TOKEN"
        purge = {"kind": kind, "target": target, "token": token}
        purge["endpoint"] = api.url
        words = settings(f"file://{tmp_path}/cdn", purge=[purge], **({"public_url": public_url} if public_url else {}))
        return open_cdn("cdn", words, Path("/"), ENVIRON, by="ci", clock=VirtualClock(NOON))

    return make


async def test_cloudfront(opened, api):
    cdn = opened("cloudfront", "E2EXAMPLE")
    await cdn.caches.purge(MOVED)
    ((method, path, headers, body),) = api.asked
    assert (method, path) == ("POST", "/2020-05-31/distribution/E2EXAMPLE/invalidation")
    batch = ET.fromstring(body)  # noqa: S314 - our own document
    space = {"c": "http://cloudfront.amazonaws.com/doc/2020-05-31/"}
    assert batch.tag == f"{{{space['c']}}}InvalidationBatch"
    assert [each.text for each in batch.findall("c:Paths/c:Items/c:Path", space)] == ["/files/app/v1/*"]
    assert batch.findtext("c:Paths/c:Quantity", namespaces=space) == "1"
    assert batch.findtext("c:CallerReference", namespaces=space) == "app/v1 7"
    assert headers["x-amz-date"] == "20150830T123600Z"
    said = headers["authorization"]
    assert said.startswith(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/cloudfront/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, Signature="
    )
    # The signature is over what arrived, not over what was meant to be sent.
    arrived = {name: headers[name] for name in ("content-type", "host")}
    keys = Keys("AKIDEXAMPLE", Secret(ENVIRON["AWS"].partition(":")[2]))
    again = signed(method, path, {}, arrived, body, keys=keys, scope=Scope("us-east-1", "cloudfront"), now=NOON)
    assert again["authorization"] == said
    await cdn.aclose()


def test_the_signature_of_the_documented_example():
    """IAM's ListUsers, as AWS works it out step by step."""
    headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8", "host": "iam.amazonaws.com"}
    keys = Keys("AKIDEXAMPLE", Secret("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"))
    query = {"Action": "ListUsers", "Version": "2010-05-08"}
    said = signed("GET", "/", query, headers, b"", keys=keys, scope=Scope("us-east-1", "iam"), now=NOON)
    assert said["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
        "SignedHeaders=content-type;host;x-amz-date, "
        "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
    )


async def test_cloudfront_as_moto_has_it(require, tmp_path):
    """A server of somebody else reads the order, and keeps the invalidation."""
    server = shared_moto(require("moto_server"))
    auth = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/cloudfront/aws4_request, SignedHeaders=host, Signature=0"
    }
    origin = "<Id>o</Id><DomainName>files.s3.amazonaws.com</DomainName><S3OriginConfig><OriginAccessIdentity/></S3OriginConfig>"
    config = (
        '<DistributionConfig xmlns="http://cloudfront.amazonaws.com/doc/2020-05-31/"><CallerReference>r</CallerReference>'
        f"<Origins><Quantity>1</Quantity><Items><Origin>{origin}</Origin></Items></Origins><DefaultCacheBehavior>"
        "<TargetOriginId>o</TargetOriginId><ViewerProtocolPolicy>allow-all</ViewerProtocolPolicy></DefaultCacheBehavior>"
        "<Comment>c</Comment><Enabled>true</Enabled></DistributionConfig>"
    )
    browser = httpx.AsyncClient()
    made = await browser.post(f"{server.url}/2020-05-31/distribution", content=config, headers=auth)
    distribution = re.search("<Id>([A-Z0-9]+)</Id>", made.text)[1]
    purge = {"kind": "cloudfront", "target": distribution, "token": "$AWS", "endpoint": server.url}
    words = settings(f"file://{tmp_path}", purge=[purge])
    cdn = open_cdn("cdn", words, Path("/"), ENVIRON, by="ci")
    await cdn.caches.purge(MOVED)
    kept = (await browser.get(f"{server.url}/2020-05-31/distribution/{distribution}/invalidation", headers=auth)).text
    assert kept.count("<InvalidationSummary>") == 1
    await cdn.aclose()


async def test_cloud_cdn(opened, api):
    cdn = opened("cloud-cdn", "my-project/cdn-navi-map")
    await cdn.caches.purge(MOVED)
    ((method, path, headers, body),) = api.asked
    assert (method, path) == ("POST", "/compute/v1/projects/my-project/global/urlMaps/cdn-navi-map/invalidateCache")
    assert json.loads(body) == {"path": "/files/app/v1/*", "host": "cdn.example.com"}
    assert headers["authorization"] == "Bearer the-token-4711"
    assert headers["content-type"] == "application/json"
    await cdn.aclose()


async def test_fastly(opened, api):
    cdn = opened("fastly", "SU1Z0isxPaozGVKXdv0eY")
    await cdn.caches.purge(MOVED)
    assert sorted((method, path) for method, path, _, _ in api.asked) == [
        ("POST", "/purge/cdn.example.com/files/app/v1/app.js"),
        ("POST", "/purge/cdn.example.com/files/app/v1/assets/a%20b.css"),
    ]
    assert {headers["fastly-key"] for _, _, headers, _ in api.asked} == {"the-token-4711"}
    await cdn.aclose()


async def test_fastly_without_addresses(opened, api):
    cdn = opened("fastly", "SU1Z0isxPaozGVKXdv0eY", public_url=None)
    await cdn.caches.purge(MOVED)
    assert [(method, path) for method, path, _, _ in api.asked] == [
        ("POST", "/service/SU1Z0isxPaozGVKXdv0eY/purge_all")
    ]
    await cdn.aclose()


async def test_cloudflare(opened, api):
    cdn = opened("cloudflare", "023e105f4ecef8ad9ca31a8372d0c353")
    many = Moved("app/v1", tuple(f"app/v1/{number}.js" for number in range(31)), "r")
    await cdn.caches.purge(many)
    assert {(method, path) for method, path, _, _ in api.asked} == {
        ("POST", "/client/v4/zones/023e105f4ecef8ad9ca31a8372d0c353/purge_cache")
    }
    orders = [json.loads(body)["files"] for _, _, _, body in api.asked]
    assert [len(order) for order in orders] == [30, 1]
    assert orders[1] == ["https://cdn.example.com/files/app/v1/30.js"]
    assert {headers["authorization"] for _, _, headers, _ in api.asked} == {"Bearer the-token-4711"}
    await cdn.aclose()


async def test_cloudflare_that_says_no_with_a_200(opened, api):
    cdn = opened("cloudflare", "zone", public_url=None)
    api.answers = [(200, {"success": False, "errors": [{"code": 1012, "message": "the-token-4711 may not purge"}]})]
    with pytest.raises(UnreachableError) as caught:
        await cdn.caches.purge(MOVED)
    assert "may not purge" in caught.value.what
    assert "4711" not in str(caught.value)
    assert json.loads(api.asked[0][3]) == {"purge_everything": True}
    await cdn.aclose()


@pytest.mark.parametrize("kind", ["cloudfront", "cloud-cdn", "fastly", "cloudflare"])
async def test_refusals_are_told_and_secrets_are_not(opened, api, kind):
    cdn = opened(kind, "a/b")
    api.answers = [(403, {"message": f"{ENVIRON['AWS' if kind == 'cloudfront' else 'TOKEN']} is not allowed"})] * 2
    with pytest.raises(UnreachableError) as caught:
        await cdn.caches.purge(MOVED)
    assert caught.value.code == "cdn.purge-failed"
    assert kind in caught.value.what
    assert "check `token`" in caught.value.next
    assert "4711" not in str(caught.value)
    assert "EXAMPLEKEY" not in str(caught.value)
    await cdn.aclose()


@pytest.mark.parametrize("kind", ["cloudfront", "cloud-cdn", "fastly", "cloudflare"])
async def test_an_unknown_target_is_told(opened, api, kind):
    cdn = opened(kind, "a/b")
    api.answers = [(404, {})] * 2
    with pytest.raises(UnreachableError, match="there is no"):
        await cdn.caches.purge(MOVED)
    await cdn.aclose()


async def test_a_cache_that_is_busy_is_told_again(opened, api):
    cdn = opened("cloudflare", "zone")
    api.answers = [(500, {}), (429, {})]
    await cdn.caches.purge(MOVED)
    assert len(api.asked) == 3
    await cdn.aclose()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ({"kind": "cloud-cdn", "target": "no-slash", "token": "$TOKEN"}, "cdn.bad-target"),
        ({"kind": "cloudflare", "target": "zone"}, "cdn.purge-without-token"),
        ({"kind": "fastly", "target": "service"}, "cdn.purge-without-token"),
        ({"kind": "cloudfront", "target": "E1"}, "cdn.purge-without-keys"),
        ({"kind": "cloudfront", "target": "E1", "token": "$TOKEN"}, "cdn.bad-aws-token"),
        ({"kind": "cloudflare", "target": "zone", "token": "$NOT_SET"}, "secret.missing"),
    ],
)
def test_what_cannot_be_told_is_told_at_once(tmp_path, words, code):
    with pytest.raises(BadInputError) as caught:
        open_cdn("cdn", settings(f"file://{tmp_path}", purge=[words]), Path("/"), ENVIRON, by="ci")
    assert caught.value.code == code
    assert "registries.cdn.purge.0" in caught.value.where


class CachingProxy:
    """A cache in front of a folder: keeps what it handed out until it is told to forget it."""

    def __init__(self, folder):
        self.folder, self.kept, self.deaf = folder, {}, False

    async def handle(self, request):
        if request.method == "PURGE":
            if self.deaf:
                return web.Response(status=503)
            return web.Response(status=200 if self.kept.pop(request.path, None) is not None else 404)
        if request.path not in self.kept:
            self.kept[request.path] = (self.folder / request.path.lstrip("/")).read_bytes()
        return web.Response(body=self.kept[request.path])


@pytest.fixture
async def proxy(tmp_path):
    cache = CachingProxy(tmp_path / "cdn")
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", cache.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    cache.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    yield cache
    await runner.cleanup()


async def test_users_of_a_cache_get_the_new_version_and_back(proxy, tmp_path):
    """The whole way through a cache that would keep the old files for an hour."""
    words = settings(f"file://{tmp_path}/cdn", purge=[{"kind": "http", "target": proxy.url}])
    cdn = open_cdn("cdn", words, Path("/"), ENVIRON, by="ci")
    old, new = Coordinate("app", "1.0.0"), Coordinate("app", "1.1.0")

    async def seen():
        async with httpx.AsyncClient() as browser:
            return (await browser.get(f"{proxy.url}/app/v1/app.js")).text

    for at in (old, new):
        await cdn.upload(artifact(at, tmp_path / at.version, {"app.js": at.version.encode()}))
        await cdn.tag(at, ["app/v1"])
        assert await seen() == at.version
    await cdn.withdraw(new, reason="broken", back_to=old)
    assert await seen() == "1.0.0"
    await cdn.aclose()


async def test_a_failing_purge_is_reported_retried_and_undoes_nothing(proxy, tmp_path):
    words = settings(f"file://{tmp_path}/cdn", purge=[{"kind": "http", "target": proxy.url}])
    cdn = open_cdn("cdn", words, Path("/"), ENVIRON, by="ci", clock=VirtualClock(NOON))
    old, new = Coordinate("app", "1.0.0"), Coordinate("app", "1.1.0")
    for at in (old, new):
        await cdn.upload(artifact(at, tmp_path / at.version, {"app.js": at.version.encode()}))
    await cdn.tag(old, ["app/v1"])
    proxy.deaf = True
    with pytest.raises(UnreachableError) as caught:
        await cdn.tag(new, ["app/v1"])
    assert (caught.value.code, caught.value.retry) == ("cdn.purge-failed", True)
    assert (await cdn.store.read("app/v1/app.js")).body == b"1.1.0"
    assert (await cdn.find([new]))[new].tags == frozenset(), "the caches are still owed, so it is tagged again"

    said = await cdn.withdraw(new, reason="broken", back_to=old)
    assert said.done == ("app/v1 leads to app@1.0.0",)
    assert any("not every cache could be told" in each for each in said.left)

    proxy.deaf, proxy.kept["/app/v1/app.js"] = False, b"1.1.0"
    again = await cdn.withdraw(new, reason="broken", back_to=old)
    assert not any("cache" in each for each in again.left)
    assert proxy.kept == {}, "the cache was told in the end"
    assert (await cdn.find([old]))[old].tags == {"app/v1"}
    await cdn.aclose()
