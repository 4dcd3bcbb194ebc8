"""The shim: one small process that is the parent of one instance, and outlives Crossfade.

An instance is a folder, and the shim is its life: it holds the folder's `lock` from its first to its
last moment, so a folder never has two. It reads `spec.json` (what to run), starts the command on a
port of its own, asks for its health, starts it again when it ends, keeps its log, tells the truth in
`state.json`, and ends the command with everything that came of it as soon as `spec.json` is removed.

Every instance costs one shim, so it imports nothing but the light part of the standard library (no
asyncio, dataclasses, pathlib, typing): about 11 MB resident, of which 6 MB are its own.

`folder` is what both sides share: names of files, atomic writes, the lock. `supervisor` is the loop;
`health` and `restarts` decide, purely; `checks`, `probe`, `command`, `journal` and
`ports` act.
"""
