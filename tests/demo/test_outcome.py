"""What is told of a story, from what was recorded and what visitors saw."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from crossfade.config.strategies import Canary
from crossfade.core.errors import ExitCode
from crossfade.demo.account import arms, bad_span, quantile, started_after
from crossfade.demo.outcome import Outcome, Release, describe, document
from crossfade.demo.scene import Pace, set_up
from crossfade.engine.views import View
from crossfade.rollouts.plan import compile_plan
from crossfade.rollouts.rollout import Terms, begin
from crossfade.store import AuditRow
from crossfade.traffic.load import Sample

PACE = Pace()


@pytest.fixture
def deployment(tmp_path):
    return set_up(tmp_path, PACE, {"1.0.0": ()}, seed=1).deployment


def release(deployment, version, *, events=(), called_off=False, **state):
    plan = compile_plan(Canary(), "shop", "production", version, previous="1.0.0")
    rollout = begin("ro_1", plan, Terms.of(deployment), slot="green", fence=0, salt=1, now=100.0)
    view = View(replace(rollout, **state), deployment, "demo", None, None)
    return Release(version, view, tuple(events), called_off=called_off)


def step_done(plan, step, at):
    names = (plan.component, plan.environment, "", json.dumps({"step": step}), "", "")
    return AuditRow(1, at, "crossfade", "step.done", "ro_1", *names)


def ok(at, version):
    return Sample(at, "get", 200, version, 5.0)


def failed(at, version):
    return Sample(at, "get", 500, version, 5.0, "status")


def dropped(at):
    return Sample(at, "get", 0, "", 5.0, "reset")


@pytest.fixture
def told(deployment):
    def tell(samples, *, fault="fails 5 % of its requests", bad=None, good=None):
        taken_back = {"status": "rolled-back", "turned_at": 110.0, "cleared_at": 110.2, "cause": "errors"}
        plan = compile_plan(Canary(), "shop", "production", "1.1.1", previous="1.0.0")
        last = max(i for i, step in enumerate(plan.steps) if step.kind == "shift")
        reached = step_done(plan, last, at=160.0)
        promoted = {"status": "done", "events": [reached]}
        return Outcome(
            fault,
            release(deployment, "1.1.0", **(bad or taken_back)),
            release(deployment, "1.1.1", **(good or promoted)),
            samples,
            slow=False,
            seconds=60.0,
        )

    return tell


GOOD = [ok(100, "1.0.0"), failed(101, "1.1.0"), ok(102, "1.1.0"), failed(104.5, "1.1.0"), ok(150, "1.1.1")]


def test_a_story_that_went_as_it_should(told):
    outcome = told(GOOD)
    assert document(outcome) == {
        "bad_release": {
            "verdict": "fail",
            "rolled_back": True,
            "seconds_to_rollback": 3.5,
            "failed_requests": 2,
            "canary_requests_after_rollback": 0,
        },
        "good_release": {"promoted": True, "seconds_to_full": 60.0, "failed_requests": 0},
        "dropped_requests": 0,
    }
    assert outcome.exit_code == ExitCode.DONE
    text = "\n".join(describe(outcome, record=Path("/somewhere")))
    assert "1.1.0's own errors    2 (status 500)" in text
    assert "dropped by Crossfade  0" in text
    assert "cd /somewhere" in text
    assert "✗" not in text


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        (dropped(120), "1 request got no answer from any version"),
        (ok(111, "1.1.0"), "1.1.0 answered 1 request that came after it was taken back"),
        (failed(150, "1.1.1"), "1.1.1 failed 1 request"),
    ],
)
def test_one_request_that_should_not_be_is_enough(told, more, complaint):
    outcome = told([*GOOD, more])
    assert list(outcome.complaints) == [complaint]
    assert outcome.exit_code == ExitCode.INTERNAL


def test_a_bad_release_that_stays_is_told(told):
    outcome = told(GOOD, bad={"status": "done"})
    assert document(outcome)["bad_release"] == {
        "verdict": "pass",
        "rolled_back": False,
        "seconds_to_rollback": None,
        "failed_requests": 2,
        "canary_requests_after_rollback": None,
    }
    assert "was not taken back" in "".join(outcome.complaints)
    assert outcome.exit_code == ExitCode.INTERNAL


def test_one_that_was_called_off_was_not_taken_back_by_itself(told):
    called_off = {"status": "rolled-back", "turned_at": 1.0, "cause": "command", "called_off": True}
    outcome = told(GOOD, bad=called_off)
    assert document(outcome)["bad_release"]["verdict"] == "inconclusive"
    assert document(outcome)["bad_release"]["rolled_back"] is False


def test_a_good_release_that_is_taken_back_is_told(told):
    outcome = told(GOOD, good={"status": "rolled-back", "turned_at": 1.0, "cause": "errors", "reason": "unlucky"})
    assert document(outcome)["good_release"]["promoted"] is False
    assert list(outcome.complaints) == ["1.1.1 is good, and did not get all of the traffic: it was taken back: unlucky"]


def test_a_fault_that_is_none_is_the_fault_of_who_asked(told):
    assert told(GOOD, fault="", bad={"status": "done"}).exit_code == ExitCode.BAD_INPUT


def test_a_slow_version_is_bad_with_every_answer():
    answers = [ok(1.0, "1.1.0"), ok(4.0, "1.1.0"), ok(9.0, "1.0.0")]
    assert bad_span(answers, "1.1.0") is None
    assert bad_span(answers, "1.1.0", slow=True) == 3.0
    assert started_after(answers, "1.1.0", 1.0) == 1


def test_arms_are_told_apart_and_requests_without_an_answer_belong_to_none():
    found = arms([ok(1, "a"), ok(1, "a"), failed(1, "b"), dropped(1)])
    assert (found["a"].requests, found["a"].failed, found["a"].share) == (2, 0, 2 / 3)
    assert (found["b"].requests, found["b"].failed) == (1, 1)
    assert math.isnan(quantile([], 0.5))
