"""Pages that show commands are run, and the runner itself tells a lie from the truth."""

import os
from pathlib import Path

import psutil
import pytest
from transcripts import MARK, Command, File, matches, parse, run_page, takes_part

ROOT = Path(__file__).parents[2]
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))] if takes_part(page.read_text())]


@pytest.mark.real
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_shows_what_happens(page, tmp_path):
    folder = tmp_path / "page"
    folder.mkdir()
    differences = run_page(page.read_text(), folder)
    assert not differences, "\n\n".join(differences)
    lines = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if any(str(folder) in word for word in line)], "a page leaves nothing running"


def test_files_and_commands_are_read_in_order():
    text = "```yaml file=a/b.yaml\nx: 1\n```\n\n```console exit=3\n$ one \\\n  more\nout\n$ two\n```\n```python\n$ no\n```\n"
    assert parse(text) == [File("a/b.yaml", "x: 1\n"), Command("one \\\n  more", "out\n"), Command("two", "", 3)]


@pytest.mark.parametrize(
    ("expected", "actual", "same"),
    [
        ("a\nb\n", "a\nb\n", True),
        ("a\nb\n", "a\n", False),
        ("a\n", "a\nb\n", False),
        ("", "", True),
        ("", "surprise\n", False),
        ("first\n...\nlast\n", "first\nx\ny\nlast\n", True),
        ("first\n...\nlast\n", "first\nlast\n", True),
        ("first\n...\nlast\n", "first\nx\n", False),
        ("rollout <id> done in ... s\n", "rollout r-1f done in 3.2 s\n", True),
        ("rollout <id> done\n", "rollout one two done\n", False),
        ("rollout <rollout-id> done\n", "rollout x done\n", True),
        ("1.1.0 (a+b)\n", "1x1y0 (a+b)\n", False),
        ("ends  \n", "ends\n", True),
    ],
)
def test_output_is_compared_with_wildcards(expected, actual, same):
    assert matches(expected, actual) is same


def test_a_page_that_tells_the_truth_passes(tmp_path):
    page = (
        "```text file=n.txt\n7\n```\n```console\n$ cat n.txt\n7\n$ ls\nn.txt\n```\n```console exit=3\n$ exit 3\n```\n"
    )
    assert run_page(page, tmp_path) == []


@pytest.mark.parametrize("lie", ["$ echo a\nb\n", "$ false\n", "$ echo a\n"])
def test_a_page_that_lies_is_caught(lie, tmp_path):
    assert len(run_page(f"```console\n{lie}```\n", tmp_path)) == 1


def test_ports_are_replaced_everywhere(tmp_path):
    page = "<!-- transcript ports=8080 -->\n```text file=p\n8080\n```\n```console\n$ grep -c 8080 p\n1\n$ cat p\n8080\n```\n"
    assert run_page(page, tmp_path) == []
    assert (tmp_path / "p").read_text() != "8080\n"


def test_what_a_page_leaves_running_is_ended(tmp_path):
    page = "```console\n$ setsid sleep 1000 >/dev/null 2>&1 & echo $! > pid; sleep 0.2\n```\n"
    assert run_page(page, tmp_path) == []
    left = [
        process.pid
        for process in psutil.process_iter(["cmdline", "environ"])
        if process.info["cmdline"] == ["sleep", "1000"]
        and (process.info["environ"] or {}).get("HOME") == str(tmp_path)
        and process.status() != psutil.STATUS_ZOMBIE
    ]
    assert left == []
    assert MARK not in os.environ
