"""What is trusted is kept there: who looks after a target in which no rollout is under way, and when next."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the keeping to each target; those in which no rollout is under way are due at once."""
    op.add_column("targets", sa.Column("next_at", sa.Double))
    op.add_column("targets", sa.Column("keeper", sa.Text, nullable=False, server_default=""))
    op.add_column("targets", sa.Column("kept_until", sa.Double, nullable=False, server_default="0"))
    op.add_column("targets", sa.Column("incident", sa.Text))
    op.add_column("targets", sa.Column("retiring", sa.Boolean, nullable=False, server_default=sa.false()))
    op.create_index("rollouts_of_target", "rollouts", ["component", "environment", "created_at"])
    op.execute(
        "UPDATE targets SET next_at = 0 WHERE NOT EXISTS (SELECT 1 FROM rollouts WHERE rollouts.active"
        " AND rollouts.component = targets.component AND rollouts.environment = targets.environment)"
    )
