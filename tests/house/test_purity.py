"""What decides is pure: no I/O, no clock, no randomness. Time, ids and chance are arguments there.

`PURE` names what decides; import-linter proves the layers, and this proves that nothing in these modules
reaches the world, directly or through anything of ours that they import. Chance is pure when its seed is an
argument: `Random(seed)` may be used, the shared generator may not.
"""

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
PURE = [
    *("crossfade.rollouts", "crossfade.analysis", "crossfade.config.model", "crossfade.config.rules"),
    *(f"crossfade.versioning.{name}" for name in ("values", "ranges", "planning", "compatibility", "naming")),
    *(f"crossfade.versioning.{name}" for name in ("conventional", "proposals", "markdown", "sections")),
    *(f"crossfade.versioning.{name}" for name in ("keep_a_changelog", "majors", "prereleases")),
    *(f"crossfade.artifacts.{name}" for name in ("image_tags",)),
]
ACTS = ("crossfade.analysis.sources", "crossfade.analysis.backtest")
"""The edges of a pure package, which read files or ask servers and do not decide; nothing pure imports them."""
WORLD = {
    *("os", "io", "sys", "time", "secrets", "uuid", "socket", "select", "asyncio", "threading"),
    *("subprocess", "multiprocessing", "signal", "shutil", "tempfile", "pathlib", "glob", "logging"),
    *("httpx", "sqlalchemy", "alembic", "dbos", "psutil", "psycopg", "rich", "typer", "structlog"),
}
REACHES = {"open", "print", "input", "exec", "eval", "now", "utcnow", "today"}


def modules():
    found = {}
    for path in SOURCE.rglob("*.py"):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


def is_pure(name):
    return any(name == pure or name.startswith(f"{pure}.") for pure in PURE) and not name.startswith(ACTS)


def imported(path):
    """Names that are imported at run time; what stands under `if TYPE_CHECKING:` is not."""
    tree = ast.parse(path.read_text())
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name if name in MODULES else node.module for name in whole)


def reached(name):
    """Everything that importing `name` brings in of ours, with the chain that leads there."""
    chains, waiting = {name: (name,)}, [name]
    while waiting:
        current = waiting.pop()
        for other in imported(MODULES[current]):
            if other in MODULES and other not in chains:
                chains[other] = (*chains[current], other)
                waiting.append(other)
    return chains


@pytest.mark.parametrize("name", sorted(name for name in MODULES if is_pure(name)))
def test_a_pure_module_never_reaches_the_world(name):
    chains = [(*chain, other) for module, chain in reached(name).items() for other in imported(MODULES[module])]
    assert [" → ".join(c) for c in chains if c[-1].partition(".")[0] in WORLD or c[-1].startswith(ACTS)] == []


@pytest.mark.parametrize("name", sorted(name for name in MODULES if is_pure(name)))
def test_a_pure_module_asks_neither_clock_nor_files(name):
    faults = []
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        text = ast.unparse(node) if isinstance(node, ast.Import | ast.ImportFrom) else ""
        if "random" in text.split() and text != "from random import Random":
            faults.append(f"line {node.lineno}: {text}")
        if isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            is_chance = called in {"Random", "default_rng"} and not node.args
            is_clock = called in {"now", "utcnow", "today"} and isinstance(node.func, ast.Attribute)
            if (called in REACHES and isinstance(node.func, ast.Name)) or is_clock or is_chance:
                faults.append(f"line {node.lineno}: {called}()")
    assert faults == []


def test_the_rules_find_what_they_forbid(tmp_path):
    path = tmp_path / "impure.py"
    path.write_text("import time\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import os\n")
    assert list(imported(path)) == ["time", "typing"]
    assert is_pure("crossfade.config.model")
    assert not is_pure("crossfade.config.models")
