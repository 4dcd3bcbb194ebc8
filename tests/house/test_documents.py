"""What is written for people: links lead somewhere, decisions have their form, and nothing names a place of ours."""

import re
import subprocess
from pathlib import Path

import pytest

from crossfade.config.load import load_text

ROOT = Path(__file__).parents[2]
SKIPPED = {".git", ".venv", ".tools", ".crossfade", "dist", "build", "node_modules", "__pycache__", ".hypothesis"}
BINARY = {".png", ".ico", ".woff2", ".gz", ".whl"}
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
SECTIONS = ["Context", "Decision", "Consequences", "What would change our mind"]
BUMPS = {"major", "minor", "patch", "none"}
# Put together from pieces, so that this file does not hold what it looks for.
PLACES = re.compile(
    "|".join(
        [
            re.escape("pypi" + ".org"),
            re.escape("python" + "hosted"),
            re.escape("registry." + "npmjs"),
            "/" + r"work/(?:main|shared|\.)",
            "/" + r"opt/(?:pypi|wheels)",
            "/" + r"(?:root|home)/[.\w]",
            "/" + r"tmp/v/",
            r"--(?:extra-)?index-" + "url [^\\\\\\s-]",
        ]
    )
)


def named(path):
    return path.relative_to(ROOT).as_posix()


def kept_files():
    """Files under version control or about to be; the whole folder where git cannot tell."""
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        files = [ROOT / name for name in listed if name]
    except (OSError, subprocess.CalledProcessError):
        files = [path for path in ROOT.rglob("*") if not SKIPPED & set(path.relative_to(ROOT).parts)]
    return sorted(path for path in files if path.is_file() and path.suffix not in BINARY)


PAGES = [path for path in kept_files() if path.suffix == ".md"]


def test_no_file_names_a_registry_or_a_place_on_somebodys_machine():
    files = kept_files()
    assert ROOT / "pyproject.toml" in files
    found = [
        f"{named(path)}:{number}: {match.group()}"
        for path in files
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if (match := PLACES.search(line))
    ]
    assert found == []


def anchors(page):
    """The anchors of a page's headings, as they are made for the web."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+\s+(.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    broken = []
    for target in targets:
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", DECISIONS, ids=named)
def test_a_decision_has_its_form(page):
    assert re.fullmatch(r"\d{4}-[a-z0-9]+(?:-[a-z0-9]+)*\.md", page.name)
    lines = page.read_text().splitlines()
    assert re.fullmatch(rf"# {page.name[:4]} · \S.*", lines[0])
    assert [line.removeprefix("## ") for line in lines if line.startswith("## ")] == SECTIONS
    assert len(lines) <= 60, "a decision is one page"


def test_decisions_are_numbered_without_gaps_and_listed():
    assert [page.name[:4] for page in DECISIONS] == [f"{number:04}" for number in range(1, len(DECISIONS) + 1)]
    index = (ROOT / "docs" / "index.md").read_text()
    assert [page.name for page in DECISIONS if f"(decisions/{page.name})" not in index] == []


def test_every_page_can_be_reached_from_the_index():
    index = ROOT / "docs" / "index.md"
    seen, waiting = {index}, [index]
    while waiting:
        page = waiting.pop()
        for target in re.findall(r"\]\(([^)#\s]+\.md)", page.read_text()):
            path = (page.parent / target).resolve()
            if path.is_file() and path not in seen:
                seen.add(path)
                waiting.append(path)
    assert [named(page) for page in PAGES if page.is_relative_to(ROOT / "docs") and page not in seen] == []


WHOLE_FILE = re.compile(r"^```yaml[^\n]*\n(project:.*?)^```$", re.MULTILINE | re.DOTALL)
CONFIGURATIONS = [pytest.param(text, id=named(page)) for page in PAGES for text in WHOLE_FILE.findall(page.read_text())]


@pytest.mark.parametrize("text", CONFIGURATIONS)
def test_a_configuration_on_a_page_is_one_that_works(text, tmp_path):
    assert load_text(text, tmp_path / "crossfade.yaml").project.components


def test_changesets_name_what_they_change_and_why():
    for path in (ROOT / ".changeset").glob("*.md"):
        if path.name == "README.md":
            continue
        match = re.fullmatch(r"---\n(.*?)---\n+(\S.*)", path.read_text(), flags=re.DOTALL)
        assert match, f"{named(path)} has no front matter, or no words below it"
        for line in match.group(1).splitlines():
            name, _, bump = line.partition(":")
            assert name.strip().strip("'\"") == "crossfade"
            assert bump.strip() in BUMPS
