"""Recorded traffic replayed: the verdict, when, and every bad line named."""

import json
import random
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.analysis.backtest import Policy, backtest, calibrate, merged, read_policy, run, run_splits
from crossfade.analysis.shares import stage_starts
from crossfade.analysis.splits import split
from crossfade.analysis.traces import read
from crossfade.analysis.values import ArmSample, Sample
from crossfade.core.errors import BadInputError


def trace(rate, *, buckets=60, stable_rate=0.0005, rps=200, shares=(0.05,), seed=1, seconds=5, latency=None):
    """JSON lines of a seeded rollout; `rate` is the canary's error rate."""
    rng = random.Random(seed)
    lines = []
    for i in range(buckets):
        share = shares[i * len(shares) // buckets]
        m_c = sum(rng.random() < share for _ in range(rps * seconds))
        arms = (("stable", rps * seconds - m_c, stable_rate), ("canary", m_c, rate))
        for arm, m, p in arms:
            row = {
                "at": i * seconds,
                "seconds": seconds,
                "arm": arm,
                "requests": m,
                "errors": sum(rng.random() < p for _ in range(m)),
            }
            if latency:
                slow = sum(rng.random() < latency[arm] for _ in range(m))
                row["latency_ms"] = {"le": [100], "counts": [m - slow, slow]}
            lines.append(json.dumps(row))
    return lines


def as_csv(lines, newline="\n"):
    rows = [json.loads(line) for line in lines]
    head = ["requests", "arm", "at", "errors", "seconds"]
    return (newline.join([",".join(head), *(",".join(str(row[key]) for key in head) for row in rows)]) + newline).split(
        "\n"
    )


def test_a_bad_release_fails_with_the_documented_fields():
    outcome = backtest(trace(0.05)).as_json()
    assert outcome["verdict"] == "fail"
    assert outcome["cause"] == "errors"
    assert outcome["at"] <= 30
    assert outcome["evidence"] >= outcome["bound"] == 100
    assert outcome["ratio"]["low"] > 1
    assert outcome["failed_requests"] > 0
    json.dumps(outcome, allow_nan=False)


def test_a_ratio_without_an_upper_end_is_null():
    assert backtest(trace(0.05, stable_rate=0.0)).as_json()["ratio"]["high"] is None


def test_an_outage_fails_by_the_guard_in_one_bucket():
    outcome = backtest(trace(1.0))
    assert (outcome.cause, outcome.at, outcome.bound) == ("guard", 5.0, 0.5)
    assert outcome.evidence == 1.0


def test_a_good_release_ends_undecided_and_passes_only_where_that_is_asked_for():
    lines = trace(0.0005, shares=(0.05, 0.25, 0.5), buckets=90)
    ended = backtest(lines)
    assert (ended.verdict, ended.cause, ended.at) == ("inconclusive", "undecided", 450.0)
    passed = backtest(lines, Policy.model_validate({"pass": True}))
    assert (passed.verdict, passed.cause) == ("pass", "proven")
    assert passed.at < 450
    assert passed.evidence >= passed.bound == pytest.approx(60)  # three stages were found: 3 / 0.05


def test_a_trace_with_hardly_any_canary_is_starved():
    assert backtest(trace(0.0, buckets=10, rps=4)).cause == "starved"


def test_slower_requests_are_seen_where_the_trace_has_latency():
    slow = backtest(trace(0.0005, latency={"stable": 0.01, "canary": 0.15}))
    assert (slow.verdict, slow.cause) == ("fail", "latency")
    same = backtest(trace(0.0005, latency={"stable": 0.01, "canary": 0.01}))
    assert same.verdict == "inconclusive"


def test_csv_and_windows_newlines_and_a_byte_order_mark_are_the_same_trace():
    lines = trace(0.05)
    expected = backtest(lines)
    assert backtest(as_csv(lines)) == expected
    assert backtest(as_csv(lines, "\r\n")) == expected
    assert backtest(["\ufeff" + lines[0] + "\r", "", *(line + "\r" for line in lines[1:])]) == expected


def test_latency_in_csv_is_json():
    lines = [
        "at,seconds,arm,requests,errors,latency_ms",
        '0,5,stable,10,0,"{""le"": [50], ""counts"": [9, 1]}"',
        "0,5,canary,3,1,",
    ]
    (sample,) = read(lines)
    assert sample.stable.latency.counts == (9, 1)
    assert (sample.canary.latency, sample.canary.errors) == (None, 1)


GOOD = '{"at": 0, "seconds": 5, "arm": "stable", "requests": 10, "errors": 1}'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "not JSON"),
        ("[]", "not JSON|one JSON object"),
        ("5", "one JSON object"),
        ('{"at": 0}', "seconds is missing"),
        (GOOD.replace('"errors"', '"erors"'), "did you mean `errors`"),
        (GOOD.replace("stable", "green"), "stable or canary"),
        (GOOD.replace('"errors": 1', '"errors": 11'), "11 errors of 10"),
        (GOOD.replace('"requests": 10', '"requests": -1'), "whole number"),
        (GOOD.replace('"requests": 10', '"requests": 1.5'), "whole number"),
        (GOOD.replace('"requests": 10', '"requests": true'), "write a number"),
        (GOOD.replace('"at": 0', '"at": NaN'), "not JSON"),
        (GOOD.replace('"at": 0', '"at": 1e999'), "write a number"),
        (GOOD.replace('"seconds": 5', '"seconds": 0'), "more than 0"),
        (GOOD, "is there already, in line 1"),
        (GOOD.replace('"at": 0', '"at": -5'), "sort the trace"),
        (GOOD.replace('"at": 0', '"at": 3'), "overlaps"),
        (GOOD.replace("stable", "canary").replace('"seconds": 5', '"seconds": 6'), "6 s here"),
        (GOOD[:-1].replace("stable", "canary") + ', "latency_ms": {"le": [5, 4], "counts": [1, 2, 3]}}', "ascend"),
        (GOOD[:-1].replace("stable", "canary") + ', "latency_ms": [1]}', "le and counts"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_every_bad_line_is_named(line, says):
    with pytest.raises(BadInputError, match=says) as error:
        backtest([GOOD, line], name="metrics.jsonl")
    assert error.value.where == "metrics.jsonl:2"
    assert error.value.code == "backtest.bad-trace"


def test_all_bad_lines_are_told_at_once():
    with pytest.raises(BadInputError) as error:
        backtest([GOOD, "{", "", "nonsense"], name="t")
    assert "t:2:" in error.value.what
    assert "t:4:" in error.value.what


@pytest.mark.parametrize("lines", [[], [""], ["\n", "  \r"], ["at,seconds,arm,requests,errors"]])
def test_an_empty_trace_is_an_error(lines):
    with pytest.raises(BadInputError, match="no bucket"):
        backtest(lines)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        (["time,arm"], "the header has no column at, seconds"),
        (["at,seconds,arm,requests,errors", "0,5,stable,10"], "4 cells under 5 columns"),
        (["at,seconds,arm,requests,errors", "0,5,stable,ten,1"], "are numbers"),
        (["at,at,seconds,arm,requests,errors"], "twice"),
        (["at\rseconds"], "neither JSON nor CSV"),
    ],
)
def test_bad_csv(lines, says):
    with pytest.raises(BadInputError, match=says):
        backtest(lines)


@given(st.lists(st.text(max_size=40), max_size=6))
def test_whatever_the_text_there_is_never_a_traceback(lines):
    with suppress(BadInputError):
        assert backtest(lines).verdict in {"pass", "fail", "inconclusive"}


def test_stages_are_found_where_the_share_jumps_and_not_where_it_is_noisy():
    assert len(stage_starts(read(trace(0.0, buckets=200)))) == 1
    assert stage_starts(read(trace(0.0, buckets=90, shares=(0.05, 0.25, 0.5)))) == (0.0, 150.0, 300.0)
    few = stage_starts(read(trace(0.0, buckets=180, shares=(0.05, 0.25, 0.5), rps=5)))
    assert len(few) == 3
    assert abs(few[1] - 300) <= 10
    assert abs(few[2] - 600) <= 10
    before = [Sample(5.0 * i, 5.0, ArmSample(1000, 0), ArmSample(0 if i < 10 else 50, 0)) for i in range(20)]
    assert stage_starts(before) == (0.0, 50.0)
    odd = [Sample(5.0 * i, 5.0, ArmSample(950, 0), ArmSample(500 if i == 10 else 50, 0)) for i in range(30)]
    assert stage_starts(odd) == (0.0,)


def test_given_stages_are_taken_as_they_are():
    lines = trace(0.0005, shares=(0.05, 0.25), buckets=60)
    policy = Policy.model_validate({"pass": True, "stages": ("0s", "2m30s", "4m")})
    assert backtest(lines, policy).bound == pytest.approx(60)


def test_fine_buckets_are_merged_to_the_policys():
    fine = backtest(trace(0.05, seconds=1, buckets=120))
    assert fine.verdict == "fail"
    assert fine.at % 5 == 0
    one = ArmSample(10, 1)
    parts = merged([Sample(float(i), 1.0, one, one) for i in range(10)], 5, cuts=(3.0,))
    assert [(s.at, s.seconds) for s in parts] == [(0.0, 3.0), (3.0, 5.0), (8.0, 2.0)]


def test_rules_of_the_policy_fire_beside_the_judge(tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text(
        "enabled: false\nrules:\n  - error_rate > 2% over 1m -> rollback\n  - requests > 10 over 1m -> notify\n"
    )
    outcome = backtest(trace(0.05), read_policy(file))
    assert (outcome.verdict, outcome.cause) == ("fail", "error_rate > 2% over 1m -> rollback")
    assert [rule["action"] for rule in outcome.as_json()["rules"]] == ["notify", "rollback"]
    assert outcome.evidence > outcome.bound == 0.02


def test_a_policy_file_in_json_and_its_faults(tmp_path):
    trace_file, policy = tmp_path / "trace.jsonl", tmp_path / "policy.json"
    trace_file.write_text("\n".join(trace(0.05)))
    policy.write_text('{"alpha": 0.0001, "bucket": "10s", "warmup": "20s"}')
    strict = run(trace_file, policy=policy)
    assert strict.at > run(trace_file).at
    assert strict.bound == pytest.approx(10_000)
    policy.write_text('{"alhpa": 0.0001, "bucket": 10}')
    with pytest.raises(BadInputError) as error:
        run(trace_file, policy=policy)
    assert "alhpa" in str(error.value)
    assert "bucket" in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    binary = tmp_path / "trace.bin"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (binary, tmp_path, tmp_path / "none"):
        with pytest.raises(BadInputError) as error:
            run(path)
        assert error.value.code == "backtest.unreadable"


def test_a_split_of_stable_is_the_same_for_the_same_seed_and_keeps_every_request():
    recorded = read(trace(0.5, buckets=20, stable_rate=0.02, latency={"stable": 0.1, "canary": 0.9}))
    for clumped in (False, True):
        once = split(recorded, seed=4, clumped=clumped)
        assert once == split(recorded, seed=4, clumped=clumped)
        assert once != split(recorded, seed=5, clumped=clumped)
        for dealt, whole in zip(once, recorded, strict=True):
            assert dealt.canary.requests + dealt.stable.requests == whole.stable.requests
            assert dealt.canary.errors + dealt.stable.errors == whole.stable.errors
            assert sum(dealt.canary.latency.counts) + sum(dealt.stable.latency.counts) == whole.stable.requests
    dealt = sum(s.canary.requests for s in split(recorded, seed=4))
    assert 0.04 < dealt / sum(s.stable.requests for s in recorded) < 0.06


def test_calibration_tells_false_rollbacks_of_both_kinds(tmp_path):
    lines = trace(0.3, buckets=60, stable_rate=0.004, shares=(0.25,))
    robust = calibrate(lines, splits=40, seed=2)
    assert robust.independent <= 0.05
    assert robust.clumped <= 0.05
    fragile = calibrate(lines, Policy(units="users"), splits=40, seed=2)
    assert fragile.clumped > 0.25  # why `requests` is the default
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(lines))
    assert run_splits(path, splits=40, seed=2) == robust
    json.dumps(robust.as_json(), allow_nan=False)
