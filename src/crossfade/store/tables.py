"""The tables, as they are after the newest migration (a test compares the two).

What changes at every look (`schedule`) is apart from what changes rarely (`rollouts`), so that a tick
in which nothing happened rewrites some 100 bytes and not a whole rollout.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

releases = sa.Table(
    "releases",
    metadata,
    sa.Column("component", sa.Text, primary_key=True),
    sa.Column("version", sa.Text, primary_key=True),
    sa.Column("workload", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
)

targets = sa.Table(
    "targets",
    metadata,
    sa.Column("component", sa.Text, primary_key=True),
    sa.Column("environment", sa.Text, primary_key=True),
    sa.Column("version", sa.Text),
    sa.Column("slot", sa.Text),
    sa.Column("previous", sa.Text),
    sa.Column("fence", sa.BigInteger, nullable=False),
    sa.Column("next_at", sa.Double),
    sa.Column("keeper", sa.Text, nullable=False, server_default=""),
    sa.Column("kept_until", sa.Double, nullable=False, server_default="0"),
    sa.Column("incident", sa.Text),
    sa.Column("retiring", sa.Boolean, nullable=False, server_default=sa.false()),
)
"""`next_at` is when it is looked after next: what is trusted is kept there. NULL while a rollout has the target.
`incident` is JSON, where something is missing; `retiring` says that all that is there shall end."""

rollouts = sa.Table(
    "rollouts",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("component", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Column("release_set", sa.Text),
    sa.Index("rollouts_newest", "created_at"),
    sa.Index("rollouts_of_target", "component", "environment", "created_at"),
    sa.Index("rollouts_of_set", "release_set"),
    sa.Index(
        "rollouts_one_active",
        "component",
        "environment",
        unique=True,
        sqlite_where=sa.text("active"),
        postgresql_where=sa.text("active"),
    ),
)
"""`state` and `deployment` are JSON; `revision` grows whenever `state` changes."""

schedule = sa.Table(
    "schedule",
    metadata,
    sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("next_at", sa.Double),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("lease_until", sa.Double, nullable=False),
    sa.Column("lease_fence", sa.BigInteger, nullable=False),
    sa.Column("claimed_at", sa.Double, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("asked", sa.BigInteger, nullable=False),
    sa.Column("answered", sa.BigInteger, nullable=False),
    sa.Index("schedule_next", "next_at"),
)
"""Who looks at which rollout, and when. `next_at` is 0 when somebody woke it, the end of the lease while
a worker has it, and NULL once it has finished."""

waiting = sa.Table(
    "waiting",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("component", sa.Text, nullable=False),
    sa.Column("environment", sa.Text, nullable=False),
    sa.Column("place", sa.BigInteger, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False),
    sa.Column("deployment", sa.Text, nullable=False),
    sa.Index("waiting_in_line", "component", "environment", "place", unique=True),
)
"""Releases that wait for their target, in the order of `place`; `id` is the one that the rollout will have."""

looks = sa.Table(
    "looks",
    metadata,
    sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("seen", sa.Text, nullable=False),
)

commands = sa.Table(
    "commands",
    metadata,
    sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("serial", sa.BigInteger, primary_key=True),
    sa.Column("verb", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False),
)

actions = sa.Table(
    "actions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("wanted_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
    sa.Column("outcome", sa.Text),
    sa.Index(
        "actions_of_rollout",
        "rollout",
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    ),
    sa.Index(
        "actions_wanted",
        "wanted_at",
        sqlite_where=sa.text("outcome IS NULL"),
        postgresql_where=sa.text("outcome IS NULL"),
    ),
)
"""The outbox: an action without an outcome is still to be carried out."""

samples = sa.Table(
    "samples",
    metadata,
    sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), primary_key=True),
    sa.Column("at", sa.Double, primary_key=True),
    sa.Column("sample", sa.Text, nullable=False),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("rollout", sa.Text),
    sa.Column("component", sa.Text),
    sa.Column("environment", sa.Text),
    sa.Column("text", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Index("audit_of_rollout", "rollout", "sequence"),
)

audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("worker", sa.Text, primary_key=True),
    sa.Column("executor", sa.Text, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("seen_at", sa.Double, nullable=False),
)

publications = sa.Table(
    "publications",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("revision", sa.Text, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("finished_at", sa.Double),
    sa.Column("ending", sa.Text),
    sa.Column("items", sa.Text, nullable=False),
    sa.Index("publications_newest", "created_at"),
)
"""What is to be where, and since when; `items` is JSON, `revision` the git commit, `ending` done or superseded."""

publication_items = sa.Table(
    "publication_items",
    metadata,
    sa.Column("publication", sa.Text, sa.ForeignKey("publications.id"), primary_key=True),
    sa.Column("item", sa.Text, primary_key=True),
    sa.Column("standing", sa.Text, nullable=False),
    sa.Column("noted_at", sa.Double, nullable=False),
)
"""How far each item is (JSON)."""
