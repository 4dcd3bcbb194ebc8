"""What everything else stands on: errors, ids, the clock, durations, shares, limits, versions.

Nothing here imports anything else of Crossfade, and nothing here does I/O except `SystemClock`.
"""
