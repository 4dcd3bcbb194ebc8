"""The wheel works when it is all there is: installed alone, in an empty environment, away from this folder."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import crossfade

ROOT = Path(__file__).parents[2]
STORY = ROOT / "tests" / "demo" / "short_story.py"
"""The real demo with a short story; it needs nothing but the package."""
DEADLINE = 240


def load_script():
    spec = importlib.util.spec_from_file_location("wheel_script", ROOT / "scripts" / "wheel.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return load_script().build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """`crossfade` in an environment that holds the wheel and the locked run-time requirements alone."""
    return load_script().install(wheel, tmp_path_factory.mktemp("empty") / "environment")


def test_the_wheel_holds_every_file_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    files = (path for path in (ROOT / "src" / "crossfade").rglob("*") if path.is_file())
    assert {path.relative_to(ROOT / "src").as_posix() for path in files if path.suffix != ".pyc"} <= names
    assert "crossfade/py.typed" in names
    assert [name for name in names if not name.startswith(("crossfade/", "crossfade-"))] == []
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_the_command_works_from_the_wheel_alone(installed, tmp_path):
    done = subprocess.run([installed, "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert crossfade.__version__ in done.stdout


OPTIONAL = {"docker", "lightkube", "awscrt", "psycopg"}
"""What only the extras bring: adapters that need it can be imported where it is installed."""


@pytest.mark.slow
def test_every_module_of_the_wheel_can_be_imported(installed, tmp_path):
    # The contract suites are for authors of adapters, who have pytest; nothing of the product imports them.
    script = (
        "import importlib, pkgutil, crossfade\n"
        "assert 'environment' in crossfade.__file__, crossfade.__file__\n"
        "for found in pkgutil.walk_packages(crossfade.__path__, 'crossfade.'):\n"
        "    if found.name.endswith(('__main__', '.migrations.env', '_contract')):\n"
        "        continue\n"
        "    try:\n"
        "        importlib.import_module(found.name)\n"
        "    except ModuleNotFoundError as error:\n"
        f"        assert error.name in {OPTIONAL!r}, (found.name, error.name)\n"
    )
    python = installed.with_name("python")
    done = subprocess.run([python, "-I", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.real
@pytest.mark.slow
def test_the_demo_runs_from_the_wheel_alone(installed, tmp_path):
    """Caddy, the application, its visitors and the engine: all from that environment, none from this one."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    environment |= {"PATH": os.defpath, "TMPDIR": str(temporary), "NO_COLOR": "1"}
    command = [installed.with_name("python"), "-I", STORY, "0.2", "--json"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=DEADLINE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["bad_release"]["verdict"], found["bad_release"]["rolled_back"]) == ("fail", True)
    assert (found["good_release"]["promoted"], found["dropped_requests"]) == (True, 0)
    assert list(temporary.iterdir()) == []
