"""Who gets which version behind HAProxy: shares by chi-square, users who stay, the override, and off means off."""

import asyncio
import re
from collections import Counter

import pytest
from haproxy_world import answer_quickly, ask_each, haproxy, put
from scipy.stats import chisquare
from traffic_world import visitor

from crossfade.core.durations import FULL
from crossfade.traffic.buckets import bucket, threshold
from crossfade.traffic.port import SLOTS, other
from free_ports import free_port

pytestmark = pytest.mark.real

GROWING = (0, 100, 500, 2500, 5000, FULL)
USERS = [
    *(f"user-{n}" for n in range(250)),
    *(str(n) for n in range(150)),
    *(f"person.{n}@example.org" for n in range(100)),
    *(f"{n:08x}-9f1c-4b6e-8d3a-{n * 7919:012x}" for n in range(100)),
]
ODD = ["ü", "日本語", "a\u00ad😀b", "'\"\\{}$%|=;!", "x" * 64, "x" * 65, "ab" * 500, "ü" * 64, "é" + "y" * 70 + "日"]


@pytest.fixture
async def slots():
    """Two servers for blue and one for green, which answer `1` and `2`."""
    made = [await answer_quickly(version) for version in ("1", "1", "2")]
    addresses = [address for _, address in made]
    yield {"blue": tuple(addresses[:2]), "green": tuple(addresses[2:])}
    for server, _ in made:
        server.close()


@pytest.fixture
def make(place, require):
    require("haproxy")
    listen, made = f"127.0.0.1:{free_port()}", []

    def router(**settings):
        made.append(haproxy(place / "routes", listen, **settings))
        return made[-1]

    yield router
    asyncio.run(made[-1].close())


async def test_shares_are_exact(make, slots):
    """Pooled over the weights, 20,000 requests lie as a fair coin of that weight lays them."""
    router, seen, meant = make(), [], []
    for green, requests in ((10, 4_000), (100, 4_000), (500, 4_000), (2500, 4_000), (7777, 4_000)):
        await put(router, slots, green)
        answers = Counter(await ask_each(router, [{}] * requests))
        seen += [answers["2"], answers["1"]]
        meant += [requests * green / FULL, requests * (FULL - green) / FULL]
    assert sum(seen) >= 20_000
    weights = len(seen) // 2  # one degree of freedom each
    assert chisquare(seen, meant, ddof=len(seen) - 1 - weights).pvalue > 0.001, (seen, meant)


async def test_instances_of_a_slot_share_alike(make):
    """Of 0 to 12 instances each gets its turn, also after others came and went."""
    router, made = make(), [await answer_quickly(str(number)) for number in range(12)]
    for count in (12, 1, 5, 2, 11, 3):
        group = tuple(address for _, address in made[-count:])
        await put(router, {"blue": group, "green": ()}, 0)
        assert (await router.observe()).routes.upstreams["blue"] == group
        answers = Counter(await ask_each(router, [{}] * 20 * count))
        assert set(answers) == set(map(str, range(12 - count, 12)))
        assert all(abs(each - 20) <= 2 for each in answers.values()), answers  # the turns began before the last change
    await put(router, {"blue": (), "green": ()}, 0)
    for server, _ in made:
        server.close()


@pytest.mark.parametrize("stable", SLOTS)
@pytest.mark.parametrize("kind", ["header", "user_cookie"])
async def test_users_stay_and_never_go_back(make, slots, kind, stable):
    """600 users while the canary grows: each changes sides once at most, at the bucket that is documented."""
    router = make(sticky={kind: "X-User"})
    requests = [{"X-User": user} if kind == "header" else {"Cookie": f"a=b; X-User={user}"} for user in USERS]
    canary, before = "2" if stable == "blue" else "1", [False] * len(USERS)
    for share in GROWING:
        green = share if stable == "blue" else FULL - share
        await put(router, slots, green, stable, salt=77)
        answers = await ask_each(router, requests)
        assert answers == ["2" if bucket(user, 77) < threshold(green) else "1" for user in USERS]
        assert await ask_each(router, requests) == answers
        after = [answer == canary for answer in answers]
        assert not any(was and not now for was, now in zip(before, after, strict=True))
        before = after
    assert all(before)


async def test_every_id_has_the_documented_bucket(make, slots):
    """Our script and `buckets.bucket` agree on odd ids, just below and just above their own threshold."""
    router = make(sticky={"header": "X-User"})
    for salt in (0, 2**31, -5):
        for user in ODD:
            points = bucket(user, salt) * FULL // 2**32
            for green in (points, points + 1):
                await put(router, slots, green, salt=salt)
                expected = "2" if bucket(user, salt) < threshold(green) else "1"
                assert await ask_each(router, [{"X-User": user}] * 2, workers=1) == [expected] * 2, (user, green)


@pytest.mark.parametrize("stable", SLOTS)
async def test_the_bucket_cookie_keeps_visitors(make, slots, stable):
    """The router gives a cookie once; a visitor who has it stays, and a forged one is replaced."""
    router, canary = make(sticky={"cookie": "cf_bucket"}), "2" if stable == "blue" else "1"
    await put(router, slots, 0 if stable == "blue" else FULL, stable, salt=5)
    async with visitor(router.address) as client:
        given = (await client.get("/version")).headers.get_list("set-cookie")
        assert len(given) == 1
        assert re.fullmatch(r"cf_bucket=[0-9a-f-]{36}; Path=/; Max-Age=\d+; HttpOnly; SameSite=Lax", given[0])
        assert "set-cookie" not in (await client.get("/version")).headers
        for forged in ("1", "zzzzzzzz-0000-4000-8000-000000000000", "a" * 5000):
            answer = await client.get("/version", headers={"Cookie": f"cf_bucket={forged}"})
            assert answer.status_code == 200
            assert "set-cookie" in answer.headers
    tokens = [f"{n * 2654435761 % 2**32:08x}-0000-4000-8000-{n:012x}" for n in range(600)]
    before = [False] * len(tokens)
    for share in GROWING:
        green = share if stable == "blue" else FULL - share
        await put(router, slots, green, stable, salt=5)
        answers = await ask_each(router, [{"Cookie": f"cf_bucket={token}"} for token in tokens])
        assert answers == ["2" if bucket(token, 5) < threshold(green) else "1" for token in tokens]
        after = [answer == canary for answer in answers]
        assert not any(was and not now for was, now in zip(before, after, strict=True))
        before = after
    assert all(before)


@pytest.mark.parametrize("sticky", [None, {"header": "X-User"}, {"cookie": "cf"}])
async def test_the_override_is_exact(make, slots, sticky):
    """`always` reaches the canary and `never` stable, at every weight; other values mean nothing."""
    router = make(sticky=sticky, override_header="X-Preview")
    version = {"blue": "1", "green": "2"}
    for stable in SLOTS:
        for green in (0, 5000, FULL):
            await put(router, slots, green, stable)
            for value, slot in (("always", other(stable)), ("never", stable)):
                answers = await ask_each(router, [{"X-Preview": value, "X-User": str(n)} for n in range(40)])
                assert set(answers) == {version[slot]}
            if green != 5000:
                odd = [{"X-Preview": value} for value in ("", "ALWAYS", "maybe", "always, never", "1")]
                assert set(await ask_each(router, odd)) == {"2" if green else "1"}
        alone = {stable: slots[stable], other(stable): ()}
        await put(router, alone, FULL if stable == "green" else 0, stable)
        assert set(await ask_each(router, [{"X-Preview": "always"}] * 20)) == {version[stable]}


async def test_a_slot_that_is_off_receives_nothing(make, slots):
    router = make()
    for green in (0, FULL):
        await put(router, slots, 5000)
        await put(router, slots, green)
        assert set(await ask_each(router, [{}] * 2_000)) == {"2" if green else "1"}


async def test_without_any_version_the_answer_says_so(make):
    router = make()
    await put(router, {"blue": (), "green": ()}, 0)
    async with visitor(router.address) as client:
        answer = await client.post("/anything", content=b"x")
    assert (answer.status_code, answer.headers["x-crossfade"]) == (503, "no-version")
    assert answer.headers["retry-after"] == "1"
