"""The tests' own PostgreSQL is real, separate for each test, and comes back after it was taken away."""

import os

import psutil
import psycopg
import pytest


def test_each_test_has_a_database_of_its_own(postgres_server, postgres_url):
    other = postgres_server.create_database()
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE mine (n int)")
    with psycopg.connect(postgres_server.url(other)) as connection:
        assert connection.execute("SELECT to_regclass('mine')").fetchone() == (None,)
    postgres_server.drop_database(other)
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(postgres_server.url(other))


@pytest.mark.parametrize("crash", [False, True])
def test_committed_rows_survive_a_stop_and_a_crash(postgres_server, postgres_url, crash):
    with psycopg.connect(postgres_url) as connection:
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (7)")
    before = postgres_server.pid
    postgres_server.stop(crash=crash)
    assert postgres_server.pid is None
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres_url)
    postgres_server.start()
    assert postgres_server.pid != before
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute("SELECT n FROM kept").fetchone() == (7,)


def test_a_test_may_leave_the_server_stopped(postgres_server, postgres_url):
    assert postgres_url
    postgres_server.stop()
    postgres_server.stop()


def test_the_server_never_runs_as_root(postgres_server):
    assert psutil.Process(postgres_server.pid).uids().effective != 0
    if os.geteuid() != 0:
        assert psutil.Process(postgres_server.pid).uids().effective == os.geteuid()


def test_a_password_is_needed(postgres_server):
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(postgres_server.url().replace(":" + postgres_server._password, ":wrong"))
