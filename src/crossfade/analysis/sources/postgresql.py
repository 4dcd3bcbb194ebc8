"""A named metric from a PostgreSQL database: the one number that a query gives, such as its connections.

Every look is a connection of its own, in a transaction that only reads and whose statements end in time; so nothing is held
while a database is short of connections, and nothing can be changed by a query.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping

from crossfade.analysis.sources.port import Answer, Unknown, Value
from crossfade.analysis.sources.templates import Names, both, for_sql
from crossfade.analysis.sources.web import variable, without
from crossfade.analysis.values import Arm
from crossfade.config.named_metrics import PostgresMetric


class PostgresNumber:
    """The number; see `port.Metric`."""

    def __init__(self, settings: PostgresMetric, *, names: Names, environ: Mapping[str, str] | None = None) -> None:
        self._settings = settings
        self._names = names
        self._environ = os.environ if environ is None else environ

    async def ask(self, *, window: float, now: float) -> Mapping[Arm, Answer]:  # noqa: ARG002 - only the present is known
        """The number as it is now, or why there is none."""
        return await both(self._settings.query, self._names, self._value, for_sql)

    async def _value(self, query: str) -> Answer:
        try:
            import psycopg  # noqa: PLC0415 - an optional part
            from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - as above
        except ImportError:
            return Unknown("it needs psycopg, which is not installed: pip install 'crossfade[postgres]'")
        name = self._settings.url
        address = variable(name, self._environ, "the database's address, such as postgresql://USER:PASSWORD@HOST/NAME")
        try:
            known = conninfo_to_dict(address)
        except psycopg.Error:
            return Unknown(f"what {name} holds is not the address of a PostgreSQL database")
        secrets = (address, str(known.get("password") or ""))
        milliseconds = max(1, round(1000 * self._settings.timeout))
        options = (
            f"{known.get('options') or ''} -c default_transaction_read_only=on -c statement_timeout={milliseconds}"
        )
        try:
            connection = await psycopg.AsyncConnection.connect(
                address, options=options.strip(), connect_timeout=max(2, math.ceil(self._settings.timeout))
            )
            async with connection:
                cursor = await connection.execute(query.encode())
                rows = await cursor.fetchmany(2) if cursor.description else []
        except psycopg.Error as error:
            passing = isinstance(error, psycopg.OperationalError)
            return Unknown(f"the database that {name} names says: {without(str(error), secrets)}", passing=passing)
        return _one(rows)


def _one(rows: list[tuple[object, ...]]) -> Answer:
    """The one number of the one row."""
    if not rows:
        return Unknown("the query gives no row")
    if len(rows) > 1 or len(rows[0]) != 1:
        return Unknown("the query gives more than one value: let it give one row with one number")
    return Value.of(rows[0][0]) or Unknown("the query gives no number")
