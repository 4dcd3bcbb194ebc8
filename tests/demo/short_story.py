"""The real demo with a short story, as a program of its own: what tests start and interrupt.

python short_story.py ERROR_RATE [--json]
"""

import sys

from crossfade.cli.render.printer import Printer
from crossfade.demo.scene import Pace
from crossfade.demo.story import Story, tell

SHORT = Pace(
    steps=("20%", "50%"), watch=30, min_watch=3, max_extension=10, final_watch=2, bucket=1, warmup=1, guard_window=2
)


def main():
    story = Story(error_rate=float(sys.argv[1]), rps=150, pace=SHORT, settle=2, patience=60, limit=150)
    return tell(story, Printer(as_json="--json" in sys.argv), keep=False)


if __name__ == "__main__":
    sys.exit(main())
