"""What people are shown says the same as what is, is aligned, and cannot upset a terminal."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from shapes import holds
from views import FINDING, NOW, deployment, rollout, view

from crossfade.cli.render.errors import error_text
from crossfade.cli.render.objects import plan_object, rollout_object
from crossfade.cli.render.plain import clean, one_line, span
from crossfade.cli.render.plan import plan_view
from crossfade.cli.render.record import history_table, record
from crossfade.cli.render.status import Standing, evidence_table, grid, tree
from crossfade.cli.render.why import why_lines
from crossfade.cli.standing import next_command, revisions, seconds_left
from crossfade.core.errors import CrossfadeError
from crossfade.rollouts.plan import compile_plan

_STATUSES = ("running", "paused", "held", "rolling-back", "done", "rolled-back")


def shown(what: object, *, width: int = 120, terminal: bool = False) -> str:
    console = Console(width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(what)
    return captured.get()


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_tree_tells_roles_weights_step_and_arithmetic() -> None:
    text = words(shown(tree(view(), NOW, watched=True)))
    assert "api 1.0.0 → 1.1.0 in production canary running ro_1" in text
    assert "step 4 of 11: watch 5 %, 30s to 5m 4m25s left" in text  # five minutes, of which 35 s were watched
    assert "● 1.0.0 stable blue 95 % 3 in flight" in text
    assert "● 1.1.0 canary green 5 %" in text
    assert "unready 127.0.0.1:4003 up 50s 2 restarts" in text
    assert "canary 31 of 1,200 failed (2.6 %), stable 103 of 22,800 (0.45 %) ratio in [2.3, ∞)" in text
    assert "━━━━━━━━━━━━──────────── 10 of 100" in text  # half of the way, on a log scale
    assert "of errors" in text


def test_wanted_stands_beside_actual_where_they_differ() -> None:
    assert "wanted 5 %, actual 1 %" in shown(tree(view(actual=100), NOW, watched=True))
    unreachable = shown(tree(view(actual=None), NOW, watched=True))
    assert "wanted 5 %, actual ?" in unreachable
    assert "does not answer: no answer" in unreachable


def test_nobody_watching_and_old_sights_are_told() -> None:
    assert "nobody: no worker is alive" in shown(tree(view(), NOW, watched=False))
    assert "seen 1m ago" in words(shown(tree(view(), NOW + 90, watched=True)))


@pytest.mark.parametrize(
    ("changes", "roles"),
    [
        ({}, ["stable", "canary"]),
        ({"promoted": True, "share": 10_000}, ["previous", "stable"]),
        ({"turned_at": NOW, "status": "rolling-back"}, ["stable", "taken back"]),
        ({"promoted": True, "turned_at": NOW, "status": "rolling-back"}, ["stable", "taken back"]),
    ],
)
def test_the_trusted_version_is_called_stable(changes: dict, roles: list[str]) -> None:
    assert [each.role for each in revisions(view(**changes))] == roles


@pytest.mark.parametrize("status", _STATUSES)
def test_every_standing_can_be_shown_in_every_form(status: str) -> None:
    finished = {"finished_at": NOW - 5} if status in ("done", "rolled-back") else {}
    turned = {"turned_at": NOW - 9, "cleared_at": NOW - 8} if status.startswith("roll") else {}
    seen = view(status=status, reason="because", **finished, **turned)
    for text in (
        shown(tree(seen, NOW, watched=False)),
        shown(grid([Standing("api", "production", "1.0.0", seen), Standing("web", "production", None, None)], NOW)),
        shown(history_table([seen], NOW)),
        shown(record(seen, [], NOW)),
        "\n".join(why_lines(("api", "production"), seen, None, [], NOW, watched=False)),
    ):
        assert "1.1.0" in text
        assert "hunter2" not in text
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    document = rollout_object(seen, NOW)
    holds("RolloutObject", document)
    json.dumps(document, allow_nan=False)


def test_a_person_is_told_what_to_do_next() -> None:
    assert next_command(rollout(status="held", failures=2)).startswith("crossfade retry api production")
    assert next_command(rollout(status="held")).startswith("crossfade resume api production")
    assert next_command(rollout(status="paused")).startswith("crossfade resume api production")
    assert next_command(rollout()) == ""


def test_time_left_is_counted_by_what_was_watched() -> None:
    assert seconds_left(view(), NOW) == 265.0
    assert seconds_left(view(finding=None), NOW) == 300.0  # nothing was seen yet: no time has counted
    assert seconds_left(view(status="paused"), NOW) is None


def test_a_plan_tells_the_worst_case_before_anything_happens() -> None:
    made = deployment()
    plan = compile_plan(made.settings.strategy, "api", "production", "1.1.0", previous="1.0.0")
    text = words(shown(plan_view(plan, made)))
    assert "3 shift 0 % → 5 %" in text
    assert "if it fails from its first request every request of 5 % for at most 16s" in text
    assert "if it fails only under full traffic every request for at most 16s" in text
    assert "2m when it is proven early" in text or "when it is proven early" in text
    holds("PlanObject", plan_object(plan, made.settings.judge))
    first = compile_plan(made.settings.strategy, "api", "production", "1.0.0", previous=None)
    assert "there is nothing to go back to" in shown(plan_view(first, made))


def test_an_instance_that_is_ready_and_not_fully_well_says_why() -> None:
    now = view()
    sick, *others = now.seen.instances
    said = replace(sick, failures=1, detail="GET /healthz answered 503")
    text = words(shown(tree(replace(now, seen=replace(now.seen, instances=(said, *others))), NOW, watched=True)))
    assert re.search(r"api-blue-0 ready 127\.0\.0\.1:4001 up \S+ GET /healthz answered 503", text)


def test_columns_are_aligned() -> None:
    rows = [Standing("api", "production", "1.0.0", view()), Standing("a-long-name", "staging", None, None)]
    lines = shown(grid(rows, NOW)).splitlines()
    assert (
        len({line.index(word) for line, word in zip(lines, ("environment", "production", "staging"), strict=True)}) == 1
    )


def test_what_others_wrote_cannot_upset_the_terminal() -> None:
    nasty = "\x1b]0;owned\x07\x1b[2J\nfake line\r\x9b31m"
    for text in (
        shown(tree(view(detail=nasty, reason=nasty), NOW, watched=True)),
        error_text(CrossfadeError("a.b", nasty), colour=False),
    ):
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text)
    assert "fake line" in one_line(nasty)
    assert "\n" not in one_line(nasty)


@given(st.text())
def test_cleaned_text_is_printable(text: str) -> None:
    assert all(each.isprintable() or each in "\n\t�" for each in clean(text))


@given(st.floats(min_value=0, max_value=1e9))
def test_spans_are_short(seconds: float) -> None:
    assert re.fullmatch(r"(\d+(\.\d)?[dhms])+", span(seconds))


def test_the_value_of_a_rule_is_shown_beside_its_bound():
    told = replace(
        FINDING, measured=("canary cpu 45% ≤ 90% (mean of 12 in the last 1m)",), unknown=("m > 1: [no] value",)
    )
    lines = why_lines(("api", "production"), view(finding=told), None, [], NOW, watched=True)
    assert any(line.split()[:5] == ["rule", "canary", "cpu", "45%", "≤"] for line in lines)
    table = words(shown(evidence_table(told, finished=False)))
    assert "rule canary cpu 45% ≤ 90% (mean of 12 in the last 1m)" in table
    assert "not judged m > 1: [no] value" in table


def test_rules_that_cannot_be_judged_are_told():
    told = replace(FINDING, unknown=("cpu > 90% over 1m -> pause: the query gave no value",))
    lines = why_lines(("api", "production"), view(finding=told), None, [], NOW, watched=True)
    assert any(line.startswith("  not judged") and "cpu > 90%" in line for line in lines)
    ended = why_lines(
        ("api", "production"), view(finding=told, status="done", finished_at=NOW), None, [], NOW, watched=True
    )
    assert not any("not judged" in line for line in ended)
