"""A Crossfade that starts or stops a slot, to be killed while it does.

python caller.py STATE start|stop COUNT VERSION [DIE_AT]

With DIE_AT it kills itself before the DIE_AT-th line of the runtime's code; it ends by printing how many
lines there were.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))


LINES = 0


def die_at(number: int) -> None:
    def line(_frame: object, event: str, _argument: object) -> object:
        global LINES  # noqa: PLW0603 - a trace function has no better place
        if event == "line":
            LINES += 1
            if number == LINES:
                os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame: object, _event: str, _argument: object) -> object:
        return line if "crossfade/runtimes" in frame.f_code.co_filename else None

    sys.settrace(call)


async def main() -> None:
    from process_world import QUICK, release  # noqa: PLC0415 - found by the line above

    from crossfade.runtimes.process import ProcessRuntime  # noqa: PLC0415 - as above

    place, what, count, version, *rest = sys.argv[1:]
    chosen = release(version, grace=0.3)
    runtime = ProcessRuntime(
        state=Path(place), environment="production", component="api", root=Path(place), restarts=QUICK
    )
    sys.stdout.write("go\n")
    sys.stdout.flush()
    if rest:
        die_at(int(rest[0]))
    if what == "start":
        await runtime.start("blue", chosen, int(count))
    else:
        await runtime.stop("blue")
    sys.settrace(None)
    sys.stdout.write(f"done after {LINES} lines\n")


if __name__ == "__main__":
    asyncio.run(main())
