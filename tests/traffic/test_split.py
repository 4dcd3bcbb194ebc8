"""Who gets which version: shares by chi-square, users who stay, the override, and off means off."""

import asyncio
import re
from collections import Counter

import pytest
from scipy.stats import chisquare
from traffic_world import shops, visitor

from crossfade.core.durations import FULL
from crossfade.traffic.buckets import bucket, threshold
from crossfade.traffic.load import Load, Plan
from crossfade.traffic.port import SLOTS, Routes, other

pytestmark = pytest.mark.real

GROWING = (0, 100, 500, 2500, 5000, FULL)
USERS = [
    *(f"user-{n}" for n in range(1000)),
    *(str(n) for n in range(500)),
    *(f"person.{n}@example.org" for n in range(300)),
    *(f"{n:08x}-9f1c-4b6e-8d3a-{n * 7919:012x}" for n in range(200)),
]


async def put(router, upstreams, green, stable="blue", salt=0):
    routes = Routes(upstreams, green, stable, salt)
    await router.apply(routes, fence=1)
    assert await router.confirm(routes)


async def ask_each(router, requests, workers=24):
    """The version that answers each request, in order; `requests` are dictionaries of headers."""
    host, _, port = router.address.rpartition(":")
    answers, todo = [""] * len(requests), iter(enumerate(requests))

    async def work():
        reader, writer = await asyncio.open_connection(host, int(port))
        for place, headers in todo:
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"GET /version HTTP/1.1\r\nHost: shop\r\n{lines}\r\n".encode())
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(re.search(r"Content-Length: (\d+)", head)[1])
            await reader.readexactly(length)
            assert head.startswith("HTTP/1.1 200"), head
            answers[place] = re.search(r"X-App-Version: (\S+)", head)[1]
        writer.close()

    await asyncio.gather(*(work() for _ in range(workers)))
    return answers


@pytest.mark.slow
async def test_shares_are_exact(router, upstreams):
    """Pooled over the weights, 50,000 requests lie as a fair coin of that weight lays them."""
    seen, meant = [], []
    for green, requests in ((10, 10_000), (100, 10_000), (500, 10_000), (2500, 10_000), (7777, 12_000)):
        await put(router, upstreams, green)
        answers = Counter(await ask_each(router, [{}] * requests))
        seen += [answers["2"], answers["1"]]
        meant += [requests * green / FULL, requests * (FULL - green) / FULL]
    assert sum(seen) >= 50_000
    weights = len(seen) // 2  # one degree of freedom each
    assert chisquare(seen, meant, ddof=len(seen) - 1 - weights).pvalue > 0.001, (seen, meant)


async def test_instances_of_a_slot_share_alike(router):
    """Every number of instances has its own rota: nobody gets a double share, also of five."""
    async with shops("a", "b", "c", "d", "e") as running:
        for count in (1, 2, 3, 5):
            group = tuple(shop.address for shop in running[:count])
            await put(router, {"blue": group, "green": ()}, 0)
            answers = Counter(await ask_each(router, [{}] * 60 * count))
            assert answers == dict.fromkeys("abcde"[:count], 60)


@pytest.mark.parametrize("stable", SLOTS)
@pytest.mark.parametrize("kind", ["header", "user_cookie"])
async def test_users_stay_and_never_go_back(make, upstreams, kind, stable):
    """2,000 users while the canary grows: each changes sides once at most, at the bucket that is documented."""
    router = make(sticky={kind: "X-User"})
    requests = [{"X-User": user} if kind == "header" else {"Cookie": f"a=b; X-User={user}"} for user in USERS]
    canary, before = "2" if stable == "blue" else "1", [False] * len(USERS)
    for share in GROWING:
        green = share if stable == "blue" else FULL - share
        await put(router, upstreams, green, stable, salt=77)
        answers = await ask_each(router, requests)
        expected = ["2" if bucket(user, 77) < threshold(green) else "1" for user in USERS]
        assert answers == expected
        if share == 2500:
            assert await ask_each(router, requests) == answers
        after = [answer == canary for answer in answers]
        assert not any(was and not now for was, now in zip(before, after, strict=True))
        before = after
    assert all(before)


@pytest.mark.parametrize("user", ["", "ü", "日本語 ", "'\"\\{}$", "x" * 64, "x" * 65, "ab" * 500])
async def test_every_id_has_the_documented_bucket(make, upstreams, user):
    """Caddy's expression and `buckets.bucket` agree on odd ids, on both sides of their threshold."""
    router = make(sticky={"header": "X-User"})
    text = user.strip()
    raw = text.encode().decode("latin-1")
    async with visitor(router.address) as client:
        for salt in (0, 1, 2**31):
            for green in (1000, 5000, 9000):
                await put(router, upstreams, green, salt=salt)
                answers = {
                    (await client.get("/version", headers={"X-User": raw.encode("latin-1")})).json()["version"]
                    for _ in range(3)
                }
                if text:
                    assert answers == {"2" if bucket(text, salt) < threshold(green) else "1"}


@pytest.mark.parametrize("stable", SLOTS)
async def test_the_bucket_cookie_keeps_visitors(make, upstreams, stable):
    """The router gives a cookie once; a visitor who has it stays, whatever the order of salts before."""
    router, canary = make(sticky={"cookie": "cf_bucket"}), "2" if stable == "blue" else "1"
    await put(router, upstreams, 0 if stable == "blue" else FULL, stable, salt=5)
    async with visitor(router.address) as client:
        first = await client.get("/version")
        given = first.headers.get_list("set-cookie")
        assert len(given) == 1
        assert re.fullmatch(r"cf_bucket=[0-9a-f-]{36}; Path=/; Max-Age=\d+; HttpOnly; SameSite=Lax", given[0])
        assert "set-cookie" not in (await client.get("/version")).headers
        for forged in ("1", "zzzzzzzz-0000-4000-8000-000000000000", "a" * 5000):
            answer = await client.get("/version", headers={"Cookie": f"cf_bucket={forged}"})
            assert answer.status_code == 200
            assert "set-cookie" in answer.headers
    tokens = [f"{n * 2654435761 % 2**32:08x}-0000-4000-8000-{n:012x}" for n in range(2000)]
    before = [False] * len(tokens)
    for share in GROWING:
        await put(router, upstreams, share if stable == "blue" else FULL - share, stable, salt=5)
        answers = await ask_each(router, [{"Cookie": f"cf_bucket={token}"} for token in tokens])
        after = [answer == canary for answer in answers]
        assert not any(was and not now for was, now in zip(before, after, strict=True))
        if share == 2500:
            assert 400 < sum(after) < 600
            assert [
                a == canary for a in await ask_each(router, [{"Cookie": f"cf_bucket={t}"} for t in tokens])
            ] == after
        before = after
    assert all(before)


@pytest.mark.parametrize("stable", SLOTS)
@pytest.mark.parametrize("sticky", [None, {"header": "X-User"}, {"cookie": "cf"}])
async def test_the_override_is_exact(make, upstreams, stable, sticky):
    """`always` reaches the canary and `never` stable, at every weight; other values mean nothing."""
    router = make(sticky=sticky, override_header="X-Preview")
    version = {"blue": "1", "green": "2"}
    for green in (0, 5000, FULL):
        await put(router, upstreams, green, stable)
        for value, slot in (("always", other(stable)), ("never", stable)):
            answers = await ask_each(router, [{"X-Preview": value, "X-User": str(n)} for n in range(60)])
            assert set(answers) == {version[slot]}
        if green != 5000:
            full = "2" if green else "1"
            odd = [{"X-Preview": value} for value in ("", "ALWAYS", "maybe", "always, never", "1")]
            assert set(await ask_each(router, odd)) == {full}
    alone = {stable: upstreams[stable], other(stable): ()}
    await put(router, alone, FULL if stable == "green" else 0, stable)
    assert set(await ask_each(router, [{"X-Preview": "always"}] * 20)) == {version[stable]}


@pytest.mark.parametrize("green", [0, FULL])
async def test_a_slot_that_is_off_receives_nothing(router, upstreams, green):
    await put(router, upstreams, 5000)
    await put(router, upstreams, green)
    load = Load(router.address, Plan(rps=600, seed=1))
    samples = await load.run(3)
    assert Counter(sample.version for sample in samples) == {"2" if green else "1": len(samples)}


async def test_without_any_version_the_answer_says_so(router):
    await put(router, {"blue": (), "green": ()}, 0)
    async with visitor(router.address) as client:
        answer = await client.post("/anything", content=b"x")
    assert (answer.status_code, answer.headers["x-crossfade"]) == (503, "no-version")
    assert answer.headers["retry-after"] == "1"
