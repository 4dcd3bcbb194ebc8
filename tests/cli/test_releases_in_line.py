"""Releases that meet, by commands: what waits is shown, taken out, superseded, and started."""

from __future__ import annotations

import pytest
from shapes import holds

pytestmark = pytest.mark.real


def test_in_line_by_commands(shop) -> None:
    assert shop.run("deploy", "api@1.0.0").code == 0
    assert shop.run("deploy", "api@1.1.0").code == 4  # waits for a person at 10 %
    shop.file.write_text(shop.file.read_text().replace("    judge:", "    supersede: queue\n    judge:"))

    plan = shop.run("plan", "api@1.2.0")
    assert "1.1.0 is under way (ro_" in plan.out
    assert "waits until it has ended (supersede: queue)" in plan.out
    detached = shop.run("deploy", "api@1.2.0", "--detach", "--json", "--reason", "june")
    assert detached.code == 0, detached.out + detached.err
    holds("DeployObject", detached.document)
    waits = detached.document["waiting"]
    assert (detached.document["rollout"], waits["version"], waits["reason"]) == (None, "1.2.0", "june")
    stays = shop.run("deploy", "api@1.2.0")  # the same one; nobody can clear the way without a terminal
    assert stays.code == 4, stays.out + stays.err
    assert "waits for 1.1.0, which waits for a person" in stays.out

    status = shop.run("status", "--json")
    holds("StatusObject", status.document)
    assert [each["id"] for each in status.document["targets"][0]["waiting"]] == [waits["id"]]
    for shown in (shop.run("status").out, shop.run("status", waits["id"]).out, shop.run("why").out):
        assert f"api 1.2.0 waits for production   {waits['id']}" in shown
    holds("WhyObject", shop.run("why", "--json").document)
    out = shop.run("abort", waits["id"], "--reason", "not today", "--json")
    holds("AnswerObject", out.document)
    assert shop.run("status", "--json").document["targets"][0]["waiting"] == []
    assert shop.run("abort", waits["id"]).code == 2

    shop.file.write_text(shop.file.read_text().replace("supersede: queue", "supersede: latest"))
    shop.file.write_text(shop.file.read_text().replace(", pause: true", ""))
    latest = shop.run("deploy", "api@1.3.0", "--json")
    assert latest.code == 0, latest.out + latest.err
    holds("DeployObject", latest.document)
    rollout = latest.document["rollout"]
    assert (rollout["version"], rollout["previous"], rollout["status"]) == ("1.3.0", "1.0.0", "done")
    before = shop.run("history", "--json").document["rollouts"][1]
    assert (before["version"], before["status"], before["reason"]) == (
        "1.1.0",
        "rolled-back",
        "superseded by api 1.3.0",
    )
    assert shop.run("audit", "verify").code == 0
