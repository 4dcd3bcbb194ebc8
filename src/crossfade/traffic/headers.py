"""The headers that are Crossfade's own, the same behind every router."""

from __future__ import annotations

PROBE_HEADER = "X-Crossfade-Probe"
"""Marks our own requests, with the target's token."""
SLOT_HEADER = "X-Crossfade-Slot"
"""Tells in the answer to a probe which slot would have served it."""
COPY_HEADER = "X-Crossfade-Copy"
"""Marks a copy of a request, so that the application may leave out what must not happen twice."""
COOKIE_AGE = 90 * 24 * 3600
"""Seconds for which a visitor keeps the bucket cookie."""
