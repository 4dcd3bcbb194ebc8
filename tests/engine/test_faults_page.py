"""The page of faults promises nothing that no test has made happen."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_row_is_proven_by_a_test_that_exists() -> None:
    rows = [line for line in (ROOT / "docs/reference/faults.md").read_text().splitlines() if line.startswith("| ")]
    proven = [row for row in rows if not row.startswith(("| Fault", "| ---"))]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(proven) >= 20
    for row in proven:
        names = re.findall(r"`(test_\w+)`", row)
        files = re.findall(r"`(\w+/test_\w+\.py)`", row)
        assert names or files, row
        assert [name for name in names if f"def {name}(" not in tests] == []
        assert [file for file in files if not (ROOT / "tests" / file).is_file()] == []
