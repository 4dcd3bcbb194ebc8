"""`python -I -S …/shim/__main__.py FOLDER`: leave the caller, then supervise the folder's instance."""

# ruff: noqa: PTH100, PTH118, PTH120 - pathlib is too heavy for a process of which every instance has one

import os
import sys

if __name__ == "__main__":
    if os.fork():
        # The caller waits for this half only, so that no zombie is left in a long-lived caller.
        os._exit(0)
    # With -I and -S the package is on no path; append, so that nothing here can hide the standard library.
    sys.path.append(os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..")))
    from crossfade.runtimes.shim.supervisor import main

    main(sys.argv[1])
