"""The migrations of the store, run by `crossfade.store.schema.migrate`; Alembic reads this folder."""
