"""What is published where, and how far each item is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the two tables of the publishing journal."""
    op.create_table(
        "publications",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("revision", sa.Text, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("finished_at", sa.Double),
        sa.Column("ending", sa.Text),
        sa.Column("items", sa.Text, nullable=False),
    )
    op.create_index("publications_newest", "publications", ["created_at"])
    op.create_table(
        "publication_items",
        sa.Column("publication", sa.Text, sa.ForeignKey("publications.id"), primary_key=True),
        sa.Column("item", sa.Text, primary_key=True),
        sa.Column("standing", sa.Text, nullable=False),
        sa.Column("noted_at", sa.Double, nullable=False),
    )
