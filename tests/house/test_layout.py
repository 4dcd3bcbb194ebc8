"""The habits of the source: every module tells its idea, stays small, and has a name that means something."""

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = sorted((ROOT / "src").rglob("*.py"))
LONGEST = {"src": 400, "tests": 500}
LONGER: dict[str, str] = {}
"""Files that may be longer than that, each with the reason."""
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "base", "manager", "common", "misc"}
PATHS = {"PYTHONPATH": str(ROOT / "src")}
HEAVY = {"pydantic", "sqlalchemy", "dbos", "httpx", "rich", "typer", "numpy", "alembic", "asyncio"}


def named(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCE, ids=named)
def test_a_module_begins_with_its_idea(path):
    assert ast.get_docstring(ast.parse(path.read_text())), f"{named(path)} has no docstring"


@pytest.mark.parametrize("path", [*SOURCE, *sorted((ROOT / "tests").rglob("*.py"))], ids=named)
def test_a_file_can_be_read_in_one_sitting(path):
    lines = len(path.read_text().splitlines())
    assert lines <= LONGEST[path.relative_to(ROOT).parts[0]] or named(path) in LONGER


def test_names_say_what_is_inside():
    vague = [named(path) for path in SOURCE if EMPTY_NAMES & set(path.with_suffix("").parts)]
    assert not vague


def test_test_files_have_names_of_their_own():
    counts = Counter(path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in counts.items() if count > 1] == []


def test_every_folder_of_the_package_is_a_package():
    folders = {path.parent for path in SOURCE} - {ROOT / "src"}
    assert [named(folder) for folder in sorted(folders) if not (folder / "__init__.py").is_file()] == []


def test_importing_crossfade_imports_nothing_heavy():
    script = "import sys, crossfade; print(*sys.modules)"
    # -S leaves out what the environment itself imports at start, such as the hooks of editable installs.
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True, check=True, env=PATHS)
    loaded = set(done.stdout.split())
    assert "crossfade" in loaded
    assert loaded & HEAVY == set()


def test_the_package_says_that_it_is_typed():
    assert (ROOT / "src" / "crossfade" / "py.typed").is_file()


def test_an_exception_to_a_rule_has_a_reason():
    told = re.compile(
        r"# (?:ruff: )?noqa: [A-Z]+\d+(?:,\s?[A-Z]+\d+)*\s+[-–#]+ \S|# type: ignore\[[a-z, -]+\]\s+[-–#]+ \S"
    )
    asked = re.compile(r"# (?:ruff: )?noqa\b|# type: ignore\b")
    files = [path for path in [*SOURCE, *(ROOT / "tests").rglob("*.py")] if path != Path(__file__)]
    bare = [
        f"{named(path)}:{number}"
        for path in files
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if asked.search(line) and not told.search(line)
    ]
    assert bare == [], "say why: `# noqa: CODE - why`"
