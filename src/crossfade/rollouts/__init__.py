"""A strategy becomes a plan of reversible steps; a pure function walks it, and walks it back.

`plan` compiles, `decide` is `(rollout, observed, now) -> decision`, `reverse` is the way back. Nothing
here does I/O or knows the time: the engine observes, asks, stores the answer and carries out actions.
"""
