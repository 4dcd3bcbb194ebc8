"""Ports for tests, as the contract suites take them; never from `bind` to 0."""

from crossfade.testing.free_ports import free_port

__all__ = ["free_port"]
