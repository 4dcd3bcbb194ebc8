"""How long a test waits for what must come: so long that only a hang is a failure, and no busy machine."""

PATIENCE = 300.0
"""Seconds."""
