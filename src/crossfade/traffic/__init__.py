"""Who gets which version: the port of all routers, the counts they take, and their adapters.

A *target* (one component in one environment) owns two fixed slots, blue and green. A router only ever
changes a number, the share of green; which instances stand behind a slot changes while that slot
receives nothing. `apply` is never believed: `confirm` asks the data plane.
"""
