"""The load of the demo is that of the tests."""

from crossfade.testing.load import *  # noqa: F403 - until nobody imports it from here
