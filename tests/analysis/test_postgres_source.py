"""Numbers from a real PostgreSQL: its connections, a query of one's own, and every way to have none."""

from __future__ import annotations

import psycopg
import pytest

from crossfade.analysis.sources.port import Unknown, Value
from crossfade.analysis.sources.postgresql import PostgresNumber
from crossfade.analysis.sources.templates import names
from crossfade.config.named_metrics import PostgresMetric
from free_ports import free_port

NAMES = names({"stable": "1.0.0", "canary": "it's"}, component="web", environment="live")


async def asked(url, environ=None, **more):
    settings = PostgresMetric(kind="postgresql", url="SHOP_DATABASE", **more)
    metric = PostgresNumber(settings, names=NAMES, environ={"SHOP_DATABASE": url} if environ is None else environ)
    return await metric.ask(window=60, now=0)


@pytest.mark.real
async def test_connections_are_counted_without_the_one_that_counts(postgres_url):
    assert (await asked(postgres_url))["canary"] == Value(0.0)
    with psycopg.connect(postgres_url), psycopg.connect(postgres_url):
        assert (await asked(postgres_url))["canary"] == Value(2.0)


@pytest.mark.real
async def test_a_query_is_filled_for_each_arm_and_quoted(postgres_url):
    found = await asked(postgres_url, query="select length('{version}')::numeric / 2")
    assert found == {"stable": Value(2.5), "canary": Value(2.0)}


@pytest.mark.real
@pytest.mark.parametrize(
    ("query", "says", "passing"),
    [
        ("select 1 where false", "the query gives no row", False),
        ("select generate_series(1, 2)", "more than one value", False),
        ("select 1, 2", "more than one value", False),
        ("select null", "no number", False),
        ("select true", "no number", False),
        ("select 'NaN'::float", "no number", False),
        ("selec 1", "syntax error", False),
        ("select * from nobody", 'relation "nobody" does not exist', False),
        ("create table x (y int)", "read-only transaction", False),
        ("select pg_sleep(30)", "statement timeout", True),
    ],
)
async def test_what_is_no_number_is_unknown_with_the_reason(postgres_url, query, says, passing):
    found = (await asked(postgres_url, query=query, timeout=0.5))["stable"]
    assert isinstance(found, Unknown)
    assert (says in found.why, found.passing) == (True, passing), found


@pytest.mark.real
async def test_a_wrong_password_and_a_server_that_is_away_tell_no_password(postgres_url):
    wrong = postgres_url.replace("@127.0.0.1", "-s3cret@127.0.0.1")
    refused = (await asked(wrong))["stable"]
    assert isinstance(refused, Unknown)
    assert refused.passing
    assert "s3cret" not in refused.why
    away = (await asked(f"postgresql://ada:s3cret@127.0.0.1:{free_port()}/shop"))["stable"]
    assert isinstance(away, Unknown)
    assert away.passing
    assert "s3cret" not in away.why


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({}, "the environment variable SHOP_DATABASE is not set"),
        ({"SHOP_DATABASE": "postgresql://ada:s3cret@[x/y?z"}, "is not the address of a PostgreSQL database"),
        ({"SHOP_DATABASE": "password=s3cret hots=x"}, "is not the address of a PostgreSQL database"),
    ],
)
async def test_a_variable_that_holds_no_address_is_told_by_its_name(environ, says):
    found = (await asked("", environ))["stable"]
    assert isinstance(found, Unknown)
    assert says in found.why
    assert "s3cret" not in found.why
