"""Named metrics beside counts: together, each with its own time, each failing alone; and what rules make of them."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from answering_server import Answer as Response
from answering_server import Server

from crossfade.analysis.rules import evaluate
from crossfade.analysis.sources.json_field import JsonField
from crossfade.analysis.sources.named import Asked, NamedSource
from crossfade.analysis.sources.port import ARMS, Reading, Series, Unknown, Value
from crossfade.analysis.sources.templates import names
from crossfade.analysis.sources.web import Client
from crossfade.config.model import Rule
from crossfade.config.named_metrics import HttpMetric
from crossfade.core.errors import UnreachableError
from patience import PATIENCE

NOW = 10_000.0
CANARY = ("canary", "m")


class Counts:
    """A source of counts that always answers."""

    async def read(self, since, **_):
        return Reading((), since + 5, since + 5, "counted")


class Told:
    """A metric that answers what a test lets it answer; an exception is raised."""

    def __init__(self, answer=None):
        self.answer, self.asked = answer, []

    async def ask(self, *, window, now):
        self.asked.append((now, window))
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
        return self.answer if isinstance(self.answer, dict) else dict.fromkeys(ARMS, self.answer)


def beside(metric, *, window=60.0, every=5.0, timeout=0.2, stale_after=60.0, counted=False, soon=30.0, **more):
    asked = {"m": Asked(metric, window, every, timeout, stale_after, counted)}
    others = {name: Asked(each, 60, 5, 0.2, 60) for name, each in more.items()}
    return NamedSource(Counts(), {**asked, **others}, soon=soon)


def ruled(line, reading, now, since=0.0):
    rule = Rule.model_validate(line)
    known = {"metrics": reading.named, "missing": reading.unknown, "begun": reading.begun, "counted": reading.counted}
    (ruling,) = evaluate([rule], (), now=now, min_requests=1, since=since, **known)
    return ruling


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (None, "no answer within 200ms"),
        (UnreachableError("metrics.unreachable", "nobody is there", next="start it"), "nobody is there; start it"),
        (KeyError("s3cret"), "it broke: KeyError"),
        (Unknown("there is no such thing"), "there is no such thing"),
    ],
)
async def test_one_that_fails_leaves_the_counts_and_the_others(broken, says):
    source = beside(Told(broken), fine=Told(Value(3.0)))
    reading = await source.read(NOW - 5, now=NOW)
    assert (reading.newest_at, reading.read_to, reading.detail) == (NOW, NOW, "counted")
    assert reading.named == {(arm, "fine"): ((NOW, 3.0),) for arm in ARMS}
    assert reading.unknown == {(arm, "m"): says for arm in ARMS}
    ruling = ruled("m > 1 over 1m -> rollback", reading, NOW)
    assert (ruling.state, ruling.reason) == ("unknown", says)


async def test_a_server_that_hangs_never_keeps_the_counts_waiting():
    """It goes on in the background; the counts come, and what it says in the end is told by a later look."""
    server = Server(Response(hang=True))
    try:
        async with httpx.AsyncClient() as client:
            settings = HttpMetric(kind="http", url=f"{server.url}/m")
            metric = JsonField(settings, Client(client), names=names({"stable": "1", "canary": "2"}))
            source = beside(metric, timeout=60.0, soon=0.1)
            reading = await source.read(NOW - 5, now=NOW)
            assert reading.newest_at == NOW
            assert reading.unknown[CANARY] == "it has not answered yet"
            async with asyncio.timeout(PATIENCE):  # only against a hang
                while not server.requests:  # noqa: ASYNC110 - a server in a thread has no event to wait for
                    await asyncio.sleep(0.01)
            await source.read(NOW, now=NOW + 5)
            await source.read(NOW, now=NOW + 10)
            assert len(server.requests) == 1  # the first try still waits; there is no second beside it
    finally:
        server.close()


async def test_it_is_asked_as_often_as_it_should_and_less_after_every_fault():
    metric = Told(Value(1.0))
    source = beside(metric)
    for second in range(11):
        await source.read(NOW, now=NOW + second)
    assert [at - NOW for at, _ in metric.asked] == [0, 5, 10]
    assert {window for _, window in metric.asked} == {60.0}
    metric.asked.clear()
    metric.answer = Unknown("away", passing=True)
    for second in range(11, 120):
        await source.read(NOW, now=NOW + second)
    assert [at - NOW for at, _ in metric.asked] == [15, 25, 45, 85]
    metric.asked.clear()
    metric.answer = Unknown("slow down", passing=True, wait=200)
    for second in range(120, 420):
        await source.read(NOW, now=NOW + second)
    assert [at - NOW for at, _ in metric.asked] == [165, 365]
    metric.asked.clear()
    metric.answer = Unknown("slow down", passing=True, wait=1000)
    for second in range(420, 3000, 5):
        await source.read(NOW, now=NOW + second)
    assert [at - NOW for at, _ in metric.asked] == [665, 1665, 2665]


async def test_a_clock_that_is_set_back_does_not_silence_a_metric():
    metric = Told(Value(1.0))
    source = beside(metric)
    await source.read(NOW, now=NOW)
    await source.read(NOW, now=NOW - 5000)
    assert [at for at, _ in metric.asked] == [NOW, NOW - 5000]


async def test_a_fault_that_passes_lets_the_last_values_stand_until_they_are_stale():
    metric = Told(Series([(NOW - 20, 5.0)]))
    source = beside(metric)
    await source.read(NOW, now=NOW)
    metric.answer = Unknown("Datadog answered 503", passing=True)
    later = await source.read(NOW, now=NOW + 10)
    assert later.named[CANARY] == ((NOW - 20, 5.0),)
    stale = await source.read(NOW, now=NOW + 50)
    assert stale.unknown[CANARY] == "the newest value is 1m10s old: Datadog answered 503"


async def test_that_there_is_no_value_any_more_counts_at_once():
    metric = Told(Series([(NOW, 5.0)]))
    source = beside(metric)
    await source.read(NOW, now=NOW)
    metric.answer = Unknown("the query gives no row")
    assert (await source.read(NOW, now=NOW + 5)).unknown[CANARY] == "the query gives no row"


async def test_what_remembers_nothing_is_judged_only_over_a_whole_window():
    """After a restart of the engine one high value is no mean over a minute."""
    metric = Told(Value(9.0))
    source = beside(metric)
    reading = await source.read(NOW, now=NOW)
    early = ruled("m > 5 over 1m -> rollback", reading, NOW + 1)
    assert (early.state, early.reason) == ("unknown", "only 6s of 1m are known")
    for second in range(5, 60, 5):
        reading = await source.read(NOW, now=NOW + second)
    assert ruled("m > 5 over 20s -> rollback", reading, NOW + 55).state == "fired"
    whole = ruled("m > 5 over 1m -> rollback", reading, NOW + 55)
    assert (whole.state, whole.reason) == ("fired", "canary m 9 > 5 (mean of 12 in the last 1m)")


async def test_values_are_kept_no_longer_than_a_rule_looks_back():
    metric = Told(Value(1.0))
    source = beside(metric, window=30.0)
    for second in range(0, 300, 5):
        reading = await source.read(NOW, now=NOW + second)
    assert [at - NOW for at, _ in reading.named[CANARY]] == [265, 270, 275, 280, 285, 290, 295]


async def test_what_is_counted_is_added_up_and_too_many_are_too_many_at_once():
    lines = Series([(NOW - 30, 1.0), (NOW - 3, 1.0), (NOW - 2, 1.0), (NOW - 1, 1.0)])
    reading = await beside(Told(lines), counted=True).read(NOW, now=NOW)
    assert reading.counted == {"m"}
    began = NOW - 10
    fired = ruled("m > 2 over 1m -> rollback", reading, NOW, since=began)
    assert (fired.state, fired.reason) == ("fired", "canary m 3 > 2 (in 10s)")
    quiet = ruled("m > 3 over 1m -> rollback", reading, NOW, since=began)
    assert (quiet.state, quiet.reason) == ("unknown", "only 10s of 1m are known")
    whole = ruled("m > 3 over 1m -> rollback", reading, NOW)
    assert (whole.state, whole.reason) == ("fired", "canary m 4 > 3 (in the last 1m)")


async def test_no_line_at_all_is_a_count_of_none_while_the_logs_are_read():
    metric = Told(Series(()))
    source = beside(metric, counted=True)
    quiet = ruled("m > 0 over 30s -> rollback", await source.read(NOW, now=NOW), NOW)
    assert (quiet.state, quiet.value) == ("quiet", 0.0)
    assert ruled("m < 1 over 30s -> notify", await source.read(NOW, now=NOW), NOW).state == "fired"
    metric.answer = Unknown("the logs cannot be read", passing=True)
    for second in (5, 70):
        reading = await source.read(NOW, now=NOW + second)
    assert ruled("m > 0 over 30s -> rollback", reading, NOW + 70).state == "unknown"
    assert reading.unknown[CANARY] == "the newest value is 1m10s old: the logs cannot be read"


async def test_each_arm_has_its_own_answer():
    answers = {"stable": Value(1.0), "canary": Unknown("no instance of it")}
    reading = await beside(Told(answers)).read(NOW, now=NOW)
    assert reading.named == {("stable", "m"): ((NOW, 1.0),)}
    assert reading.unknown == {CANARY: "no instance of it"}
