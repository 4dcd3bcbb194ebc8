"""Rollouts that belong together."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the release set to each rollout."""
    op.add_column("rollouts", sa.Column("release_set", sa.Text))
    op.create_index("rollouts_of_set", "rollouts", ["release_set"])
