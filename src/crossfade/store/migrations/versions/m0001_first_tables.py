"""The first tables, and the triggers that keep the audit record append-only."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

REFUSAL = "the audit record is append-only"


def upgrade() -> None:
    """Create everything."""
    _what_is_released()
    _what_is_rolled_out()
    _what_is_recorded()
    _refuse_changes_of_the_record()


def _what_is_released() -> None:
    op.create_table(
        "releases",
        sa.Column("component", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, primary_key=True),
        sa.Column("workload", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
    )
    op.create_table(
        "targets",
        sa.Column("component", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("version", sa.Text),
        sa.Column("slot", sa.Text),
        sa.Column("previous", sa.Text),
        sa.Column("fence", sa.BigInteger, nullable=False),
    )


def _what_is_rolled_out() -> None:
    op.create_table(
        "rollouts",
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
    )
    active = sa.text("active")
    op.create_index("rollouts_newest", "rollouts", ["created_at"])
    op.create_index(
        "rollouts_one_active",
        "rollouts",
        ["component", "environment"],
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    op.create_table(
        "schedule",
        sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), primary_key=True),
        sa.Column("next_at", sa.Double),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("lease_until", sa.Double, nullable=False),
        sa.Column("lease_fence", sa.BigInteger, nullable=False),
        sa.Column("claimed_at", sa.Double, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("asked", sa.BigInteger, nullable=False),
        sa.Column("answered", sa.BigInteger, nullable=False),
    )
    op.create_index("schedule_next", "schedule", ["next_at"])
    op.create_table(
        "looks",
        sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("seen", sa.Text, nullable=False),
    )
    op.create_table(
        "commands",
        sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), primary_key=True),
        sa.Column("serial", sa.BigInteger, primary_key=True),
        sa.Column("verb", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("asked_at", sa.Double, nullable=False),
    )
    op.create_table(
        "actions",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("wanted_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("outcome", sa.Text),
    )
    wanted = sa.text("outcome IS NULL")
    op.create_index("actions_of_rollout", "actions", ["rollout"], sqlite_where=wanted, postgresql_where=wanted)
    op.create_index("actions_wanted", "actions", ["wanted_at"], sqlite_where=wanted, postgresql_where=wanted)
    op.create_table(
        "samples",
        sa.Column("rollout", sa.Text, sa.ForeignKey("rollouts.id"), primary_key=True),
        sa.Column("at", sa.Double, primary_key=True),
        sa.Column("sample", sa.Text, nullable=False),
    )
    op.create_table(
        "workers",
        sa.Column("worker", sa.Text, primary_key=True),
        sa.Column("executor", sa.Text, nullable=False),
        sa.Column("started_at", sa.Double, nullable=False),
        sa.Column("seen_at", sa.Double, nullable=False),
    )


def _what_is_recorded() -> None:
    op.create_table(
        "audit",
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
    )
    op.create_index("audit_of_rollout", "audit", ["rollout", "sequence"])
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
    )
    op.bulk_insert(head, [{"id": 1, "count": 0, "hash": "0" * 64}])


def _refuse_changes_of_the_record() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER audit_refuses_{verb} BEFORE {verb.upper()} ON audit "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION audit_refuses() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSAL}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_refuses_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_refuses()"
    )
