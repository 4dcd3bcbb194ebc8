"""The command line: thin commands over the engine, and the only place that prints.

`app.COMMANDS` is the table of everything that can be asked; each command opens a `Place` (file, state,
printer), asks the engine, and hands what it got to `render`. What `--json` prints is made in `documents`.
"""
