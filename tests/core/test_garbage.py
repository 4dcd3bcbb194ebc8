"""The search for garbage is put off, never given up; in processes of their own, as it concerns all of a process."""

import subprocess
import sys

import pytest

CYCLES = """
import gc, weakref
from crossfade.core import garbage

class Node:
    pass

def cycle():
    node = Node()
    node.itself = node
    return weakref.ref(node)

garbage.{mode}()
gone = cycle()
kept = []
for number in range({objects}):
    if gone() is None:
        print("found after", number)
        break
    kept.append([number])
else:
    print("never found")
print(gc.get_freeze_count() > 1000)
"""


def run(mode: str, objects: int) -> list[str]:
    code = CYCLES.format(mode=mode, objects=objects)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(("mode", "at_most", "frozen"), [("answering", 50_100, "False"), ("serving", 10_100, "True")])
def test_young_garbage_is_found(mode: str, at_most: int, frozen: str) -> None:
    found, left_out = run(mode, at_most)
    assert found.startswith("found after")
    assert int(found.split()[-1]) > at_most * 0.9
    assert left_out == frozen


def test_the_last_search_is_left_out() -> None:
    _, left_out = run("ending", 0)
    assert left_out == "True"
