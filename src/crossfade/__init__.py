"""Crossfade takes a change from changeset to 100 % of traffic, and back again by itself.

Importing this package costs next to nothing: every capability is imported where it is used.
"""

__version__ = "0.1.0"
