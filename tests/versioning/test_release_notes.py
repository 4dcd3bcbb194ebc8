"""Release notes: what they gather, the default template, a team's own, and faults that name file and line."""

import re
import textwrap
from pathlib import Path

import pytest

from crossfade.config.model import Environment, Judge, Rule
from crossfade.config.publishing import Versioning
from crossfade.config.strategies import BlueGreen, Canary, Direct
from crossfade.core.errors import BadInputError
from crossfade.rollouts.plan import compile_plan
from crossfade.versioning.notes import (
    NAMES,
    ComponentRow,
    ReleaseNotes,
    Told,
    component_rows,
    deployment_of,
    migrations_of,
    notes_of,
)
from crossfade.versioning.notes_template import render
from crossfade.versioning.notices import parse_notice
from crossfade.versioning.sections import entries_of
from crossfade.versioning.values import Bump, Change, Changeset, PlannedRelease, ReleasePlan

PLAN = ReleasePlan(
    changesets=(
        Changeset("a", (Change("api", Bump.MINOR), Change("web", Bump.MINOR), Change("docs", Bump.NONE)), "a cart"),
        Changeset("b", (Change("api", Bump.MAJOR),), "v1 is gone\n\n### Deployment Notes\n\n- migrate first"),
        Changeset("c", (Change("core", Bump.PATCH),), "security: new TLS"),
        Changeset("d", (Change("core", Bump.PATCH),), "a leak"),
    ),
    releases=(
        PlannedRelease("api", "1.4.0", "2.0.0", Bump.MAJOR, ("a", "b")),
        PlannedRelease("web", "0.0.0", "0.1.0", Bump.MINOR, ("a",)),
        PlannedRelease("core", "3.0.0", "3.0.1", Bump.PATCH, ("c", "d")),
        PlannedRelease("docs", "1.0.0", "1.0.0", Bump.NONE, ("a",)),
    ),
)
VERSIONS = {"api": "1.4.0", "web": "0.0.0", "core": "3.0.0", "docs": "1.0.0"}
BEFORE = {"api": "1.4.0", "core": "3.0.0", "docs": "1.0.0"}
GUIDES = {"docs/migrations/api-v2.md": "Rename `a` to `b`."}


@pytest.fixture
def notes():
    settings = Environment(rules=(Rule.model_validate("error_rate > 1% over 5m -> rollback"),))
    return notes_of(
        PLAN,
        VERSIONS,
        BEFORE,
        title="shop 2.0.0",
        date="2025-11-19",
        deployments=[deployment_of("production", settings.strategy, judge=settings.judge, rules=settings.rules)],
        migrations=migrations_of(PLAN.releases, GUIDES, Versioning().migration_guides),
    )


def test_each_component_has_its_status():
    rows = component_rows(PLAN, VERSIONS, BEFORE)
    assert [tuple(row) for row in rows] == [
        ("web", "0.1.0", None, "New"),
        ("api", "2.0.0", "1.4.0", "Updated"),
        ("core", "3.0.1", "3.0.0", "Patched"),
        ("docs", "1.0.0", "1.0.0", "Unchanged"),
    ]


def test_a_thing_is_told_once(notes):
    assert notes.features == (Told(("api", "web"), "a cart"),)
    assert notes.breaking == (Told(("api",), "v1 is gone"),)
    assert (notes.security, notes.fixes) == ((Told(("core",), "new TLS"),), (Told(("core",), "a leak"),))
    assert notes.deployment_notes == (Told(("api",), "migrate first"),)


def test_our_own_template_tells_all_of_it(notes):
    text = render(notes)
    headings = [line.strip("# ") for line in text.splitlines() if line.startswith("#")]
    assert headings == [
        "shop 2.0.0", "Breaking changes", "Features", "Fixes", "Security", "Migration", "Components", "Deployment",
        "production: canary",
    ]  # fmt: skip
    assert "- **api, web**: a cart\n" in text
    assert "- [From api 1.4.0 to 2.0.0](docs/migrations/api-v2.md)\n" in text
    assert "| web | 0.1.0 | – | New |\n| api | 2.0.0 | 1.4.0 | Updated |\n" in text
    assert "3. Shift 0 % → 5 %.\n4. Watch 5 % for 5m.\n" in text
    assert "when the new version is proven worse than the old one or error_rate > 1% over 5m;" in text
    assert "\n\n\n" not in text
    assert text.endswith("\n")


def test_a_single_component_is_not_named_in_every_line():
    row = ComponentRow("shop", "1.0.1", "1.0.0", "Patched")
    text = render(ReleaseNotes("shop 1.0.1", "2025-11-19", (row,), fixes=(Told(("shop",), "a leak\nand more"),)))
    assert text == (
        "# shop 1.0.1\n\nReleased on 2025-11-19.\n\n## Fixes\n\n- a leak\n  and more\n\n## Components\n\n"
        "| Component | Version | Before | Status |\n| --- | --- | --- | --- |\n| shop | 1.0.1 | 1.0.0 | Patched |\n"
    )


@pytest.mark.parametrize(
    ("strategy", "takes", "way_back"),
    [
        (Direct(), "as long as", "crossfade abort"),
        (BlueGreen(watch=300, hold=600), "10m", "crossfade abort"),
        (Canary(watch=60, final_watch=0, hold=0), "3m", "crossfade abort"),
    ],
)
def test_the_deployment_is_what_a_rollout_will_do(strategy, takes, way_back):
    told = deployment_of("staging", strategy)
    plan = compile_plan(strategy, "api", "staging", "2.0.0", previous="1.0.0")
    assert [step.lower() for step in told.steps] == [f"{step.describe()}.".lower() for step in plan.steps]
    assert told.strategy == strategy.kind
    assert told.takes.startswith(takes)
    assert way_back in told.way_back


def test_what_takes_it_back_is_told():
    rules = [Rule.model_validate(line) for line in ("p99 > 2s over 1m -> rollback", "requests < 1 over 1m -> notify")]
    assert "by itself when p99 > 2s over 1m;" in deployment_of("staging", BlueGreen(), rules=rules).way_back
    assert "worse" not in deployment_of("staging", BlueGreen(), judge=Judge(enabled=False)).way_back
    assert "no older version" in deployment_of("staging", Canary(), judge=Judge(), first=True).way_back


def test_a_template_of_ones_own_may_replace_a_part(notes, tmp_path):
    own = tmp_path / "notes.md"
    own.write_text(
        '{% extends "default" %}\n{% block fixes %}\n\n{% for fix in fixes %}* {{ fix.text | upper }}\n{% endfor %}\n{% endblock %}\n'
    )
    text = render(notes, own)
    assert "* A LEAK" in text
    assert "## Features" in text
    assert "## Fixes" not in text


def test_a_template_knows_every_name_and_its_neighbours(notes, tmp_path):
    (tmp_path / "part.txt").write_text("{{ migrations[0].text }}")
    own = tmp_path / "own.txt"
    own.write_text("".join(f"{{{{ {name} }}}}\n" for name in NAMES) + '{% include "part.txt" %}')
    text = render(notes, own)
    assert "Rename `a` to `b`." in text
    own.write_text("{{ title }}")
    assert render(ReleaseNotes("a < b & c", "", ()), own) == "a < b & c", "Markdown is not escaped"


FAULTS = {
    "syntax": ("line\n{% if %}", 2, "", "correct"),
    "end": ("{% for x in fixes %}\n", 1, "endfor", "correct"),
    "name": ("\n\n{{ fixxes }}", 3, "fixxes", "fixes"),
    "attribute": ("\n{% for fix in fixes %}\n{{ fix.tekst }}\n{% endfor %}", 3, "tekst", "correct"),
    "filter": ("\n{{ title | shout }}", 2, "shout", "correct"),
    "sandbox": ("\n{{ title.__class__.__mro__ }}", 2, "unsafe", "correct"),
    "mutation": ("{% set x = [] %}\n{{ x.append(1) }}", 2, "unsafe", "correct"),
    "arithmetic": ("\n{{ 1 / 0 }}", 2, "division", "correct"),
    "types": ("\n{{ title + 1 }}", 2, "TypeError", "correct"),
    "absent": ('\n{% include "else.md" %}', 2, "else.md", "default"),
    "outside": ('\n{% include "../secret.md" %}', 2, "secret.md", "default"),
    "itself": ('{% include "own.md" %}', 1, "Recursion", "correct"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_template_names_file_and_line(notes, tmp_path, name):
    text, line, what, hint = FAULTS[name]
    (tmp_path / "secret.md").write_text("hunter2")
    own = tmp_path / "templates" / "own.md"
    own.parent.mkdir()
    own.write_text(text)
    with pytest.raises(BadInputError) as caught:
        render(notes, own)
    fault = caught.value
    assert fault.code == "notes.bad-template"
    assert fault.where == f"{own}:{line}"
    assert what in fault.what
    assert hint in fault.next
    assert "hunter2" not in str(fault)


def test_a_fault_in_a_neighbour_names_the_neighbour(notes, tmp_path):
    (tmp_path / "part.md").write_text("fine\n{{ nothing }}")
    (tmp_path / "own.md").write_text('{% include "part.md" %}')
    with pytest.raises(BadInputError) as caught:
        render(notes, tmp_path / "own.md")
    assert caught.value.where == f"{tmp_path / 'part.md'}:2"


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_template_that_cannot_be_read_is_told(notes, tmp_path, content):
    own = tmp_path / "own.md"
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(BadInputError) as caught:
        render(notes, own)
    assert caught.value.code == "notes.unreadable-template"
    assert caught.value.where == str(own)


def test_the_page_about_release_notes_is_right(notes, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "release-notes.md").read_text()
    own = tmp_path / "own.md"
    own.write_text(re.search(r"```jinja\n(.*?)```", page, re.DOTALL)[1])
    assert "## What works again\n\n- a leak (core)\n" in render(notes, own)
    table = page.partition("| Name | What it holds |")[2].partition("\n\n")[0]
    assert set(NAMES) <= set(re.findall(r"`(\w+)`", table))
    words = set(re.findall(r"`(\w+): …`", page))
    assert len(words) == 8
    assert all(entries_of(f"{word}: x", Bump.MINOR)[0].text == "x" for word in words)
    changeset = textwrap.dedent(re.search(r"   ```markdown\n(.*?)   ```", page, re.DOTALL)[1])
    told = entries_of(changeset.rpartition("---\n")[2], Bump.MINOR)
    assert [entry.section for entry in told] == ["Added", "Fixed", "Fixed", "Deployment Notes"]
    notice = re.search(r"```json\n(.*?)```", page, re.DOTALL)[1]
    assert parse_notice(notice, ".changeset/notices/api-v2.json").as_text() == notice
