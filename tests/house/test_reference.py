"""The pages that are generated from the code say what the code says."""

import importlib.util
import sys
from pathlib import Path

import pytest

from crossfade.core.errors import ExitCode

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "scripts" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_up_to_date(reference):
    assert reference.out_of_date() == [], "run `make reference`"


def test_every_error_code_is_documented_with_what_it_says(reference):
    page = (ROOT / "docs" / "reference" / "errors.md").read_text()
    codes = reference.error_codes()
    assert "reference.no-version" in codes
    assert [name for name in codes if f"### `{name}`" not in page] == []


def test_an_error_code_ends_the_same_way_wherever_it_is_raised(reference):
    assert [code.name for code in reference.error_codes().values() if len(code.exits) != 1] == []


def test_every_exit_code_says_what_it_means(reference):
    documented = reference.exit_codes()
    assert {name: number for name, (number, _) in documented.items()} == {code.name: int(code) for code in ExitCode}
    assert all(meaning for _, meaning in documented.values())
