"""What differs between the routes that are wanted and those in force, as a sentence."""

from __future__ import annotations

from crossfade.core.durations import FULL, format_share
from crossfade.traffic.port import RouterView, Routes

INSTANCES = "the instances have changed"
COPIES = "other copies of requests are wanted"


def drift(view: RouterView, wanted: Routes) -> str:
    """What differs, or nothing; the salt matters only while there is a split.

    >>> there = Routes({"blue": ("127.0.0.1:1",), "green": ()}, 0, "blue", 1)
    >>> drift(RouterView(reachable=True, routes=None), there)
    'the router has nothing for us'
    >>> drift(RouterView(reachable=True, routes=there), there)
    ''
    """
    actual = view.routes
    if not view.reachable:
        return view.detail or "the router does not answer"
    if actual is None:
        return "the router has nothing for us"
    if actual.green != wanted.green:
        return f"the router gives green {format_share(actual.green)} instead of {format_share(wanted.green)}"
    if actual.mirror != wanted.mirror:
        return COPIES
    if actual.upstreams != wanted.upstreams:
        return INSTANCES
    if actual.stable != wanted.stable:
        return f"the trusted version is in {wanted.stable} now"
    if actual.salt != wanted.salt and wanted.green not in (0, FULL):
        return "the salt differs"
    return ""
