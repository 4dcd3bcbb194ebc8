"""The whole way by commands alone, on real parts: forward, steered, killed, interrupted, back, and proven."""

from __future__ import annotations

import json
import signal
import sqlite3
import time

import pytest
from shapes import holds
from terminal import Terminal

from patience import PATIENCE

pytestmark = pytest.mark.real


def await_(condition, seconds: float = 60.0) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it never came"
        time.sleep(0.1)


def test_forward_steered_and_back(shop) -> None:
    first = shop.run("deploy", "api@1.0.0", "production", "--reason", "the beginning")
    assert first.code == 0, first.out + first.err
    assert "✓ api 1.0.0 has all of the traffic in production" in first.out
    assert "the beginning, by ada" in first.out

    waits = shop.run("deploy", "api@1.1.0", "--json")  # one environment: it need not be named
    assert waits.code == 4, waits.out + waits.err
    holds("DeployObject", waits.document)
    rollout = waits.document["rollout"]
    assert (rollout["status"], rollout["step"]["kind"], rollout["previous"]) == ("running", "await", "1.0.0")
    assert [r["wanted_share"] for r in rollout["revisions"]] == [90.0, 10.0]
    assert [r["actual_share"] for r in rollout["revisions"]] == [90.0, 10.0]

    status = shop.run("status", "api")
    assert "1.0.0  stable  blue   90 %" in status.out
    assert "1.1.0  canary  green   10 %" in status.out
    assert "nobody: no worker is alive" in status.out
    why = shop.run("why").out
    assert "api 1.1.0 in production waits for a person, at 10 %" in why
    assert "crossfade promote api production" in why
    other = shop.run("deploy", "api@1.2.0")
    assert (other.code, "under way" in other.err, rollout["id"] in other.err) == (2, True, True)

    refused = shop.run("resume", "api", "production", "--json")
    assert (refused.code, refused.document["error"]["code"]) == (2, "command.refused")
    promoted = shop.run("promote", "--full", "--reason", "looks good", "--json")
    assert promoted.code == 0, promoted.out + promoted.err
    holds("AnswerObject", promoted.document)
    ended = shop.run("status", "--watch")
    assert (ended.code, "1.0.0 is drained and stopped" in ended.out) == (0, True), ended.out + ended.err

    back = shop.run("rollback", "--reason", "second thoughts")
    assert back.code == 0, back.out + back.err
    assert shop.run("status", "--json").document["targets"][0]["version"] == "1.0.0"
    assert shop.run("rollback", "--to", "0.9.0").code == 2

    _the_record_is_told(shop, rollout["id"])
    _the_record_is_proven(shop)


def _the_record_is_told(shop, rollout: str) -> None:
    listed = shop.run("history", "--json").document
    holds("HistoryObject", listed)
    assert [each["version"] for each in listed["rollouts"]] == ["1.0.0", "1.1.0", "1.0.0"]
    told = shop.run("history", rollout, "--json").document
    holds("RecordObject", told)
    asked = [e for e in told["events"] if e["kind"] == "command.done"]
    assert [(e["actor"], e["data"]["reason"]) for e in asked] == [("ada", "looks good")]
    assert "promote-full (looks good), by ada" in shop.run("history", rollout).out
    lines = shop.run("events", "--json").out.splitlines()
    for sequence, line in enumerate(lines, 1):
        event = json.loads(line)
        holds("EventObject", event)
        assert event["sequence"] == sequence
    assert len(shop.run("events", "--after", str(len(lines) - 2)).out.splitlines()) == 2
    logs = shop.run("logs", "api", "--lines", "5").out
    assert "shop 1.0.0 on http://127.0.0.1:" in logs
    everything = shop.run("status", "api", "--json").out + logs + "\n".join(lines)
    assert "hunter2" not in everything


def _the_record_is_proven(shop) -> None:
    sound = shop.run("audit", "verify", "--json")
    assert sound.code == 0
    holds("AuditObject", sound.document)
    with sqlite3.connect(shop.folder / ".crossfade" / "state.db") as connection:
        connection.execute("DROP TRIGGER audit_refuses_update")  # whoever changes the record removes what forbids it
        connection.execute("UPDATE audit SET actor = 'eve' WHERE sequence = 5")
    connection.close()
    tampered = shop.run("audit", "verify")
    assert (tampered.code, "entry 5: it was changed after it was written" in tampered.out) == (6, True)


def test_what_a_kill_left_is_carried_on_and_taken_back(shop) -> None:
    assert shop.run("deploy", "api@1.0.0").code == 0
    text = shop.file.read_text()
    shop.file.write_text(text.replace("{weight: 10%, watch: 0s, pause: true}", "10%"))
    killed = shop.start("deploy", "api@1.1.0")
    await_(lambda: '"kind": "watch"' in shop.run("status", "--json").out)
    killed.kill()
    killed.communicate()
    await_(lambda: not shop.run("status", "--json").document["watched"], 30)  # its heartbeat has grown old

    shop.file.write_text("project: [")  # nobody is kept from steering by a broken file
    aborted = shop.run("abort", "api", "production", "--reason", "not tonight")
    assert aborted.code == 0, aborted.out + aborted.err
    assert "resuming ro_" in aborted.err
    assert "that was interrupted at step 4 of 6: watch 10 % for 1m" in aborted.err
    assert "↩ api 1.1.0 was taken back" in aborted.out
    assert "not tonight" in aborted.out
    shop.file.write_text(text)
    status = shop.run("status", "--json").document["targets"][0]
    assert (status["version"], status["rollout"]["status"]) == ("1.0.0", "rolled-back")
    assert [r["version"] for r in status["rollout"]["revisions"]] == ["1.0.0"]


def test_what_is_trusted_already_is_brought_back_where_it_is_missing(shop) -> None:
    assert shop.run("deploy", "api@1.0.0").code == 0
    there = shop.run("deploy", "api@1.0.0")
    assert there.code == 0
    assert there.out.startswith("✓ api 1.0.0 has all of the traffic in production already: nothing to do\n")
    assert "brings back what is missing, no more" in shop.run("plan", "api@1.0.0").out

    shop.die()
    assert "nothing brings back what is missing: `crossfade worker`" in shop.run("status").out
    why = shop.run("why", "api").out
    assert why.startswith("api 1.0.0 in production is trusted, but not all of it is there\n")
    assert "missing          0 of 1 instances of 1.0.0 are there" in why
    assert "crossfade deploy api@1.0.0 production" in why
    for asked, shape in ((("status", "--json"), "StatusObject"), (("why", "api", "--json"), "WhyObject")):
        document = shop.run(*asked).document
        holds(shape, document)
        told = document["targets"][0] if shape == "StatusObject" else document
        assert told["missing"].startswith("0 of 1 instances of 1.0.0 are there; ")

    again = shop.run("deploy", "api@1.0.0")
    assert again.code == 0, again.out + again.err
    assert "api 1.0.0 is trusted in production already, but 0 of 1 instances" in again.out
    assert "✓ api 1.0.0 has all of the traffic in production again" in again.out
    assert shop.run("status", "--json").document["targets"][0]["missing"] is None
    assert [each["version"] for each in shop.run("history", "--json").document["rollouts"]] == ["1.0.0"]
    kinds = [json.loads(line)["kind"] for line in shop.run("events", "--json").out.splitlines()]
    assert "target.repair" in kinds

    shop.die()
    (shop.folder / ".crossfade/instances").rename(shop.folder / "aside")
    (shop.folder / ".crossfade/instances").write_text("in the way")
    kept = shop.run("deploy", "api@1.0.0", "--json")
    assert (kept.code, kept.document["rollout"]["status"]) == (4, "done"), kept.out + kept.err
    holds("DeployObject", kept.document)
    failing = shop.run("events").out
    assert "cannot be read or written" in failing
    (shop.folder / ".crossfade/instances").unlink()
    (shop.folder / "aside").rename(shop.folder / ".crossfade/instances")
    assert shop.run("deploy", "api@1.0.0").code == 0


def test_a_component_is_taken_out_of_service_and_comes_back(shop) -> None:
    nothing = shop.run("down", "api", "--yes", "--json")
    assert (nothing.code, nothing.document["error"]["code"]) == (2, "target.nothing")
    assert shop.run("deploy", "api@1.0.0").code == 0
    unconfirmed = shop.run("down", "api")
    assert (unconfirmed.code, "api 1.0.0 has visitors in production: nothing was done" in unconfirmed.err) == (2, True)
    assert "crossfade down api production --yes" in unconfirmed.err
    assert shop.running()
    down = shop.run("down", "api", "production", "--yes", "--reason", "moved away", "--json")
    assert down.code == 0, down.out + down.err
    holds("AnswerObject", down.document)
    assert not shop.running()
    assert shop.run("why", "api", "--json").document["missing"] is None
    assert shop.run("status", "--json").document["targets"][0]["version"] is None
    assert shop.run("why", "api").out.startswith("api is out of service in production\n")
    assert "moved away, by ada" in shop.run("events").out
    back = shop.run("rollback", "api", "production")
    assert back.code == 0, back.out + back.err
    assert shop.run("status", "--json").document["targets"][0]["version"] == "1.0.0"
    assert shop.run("audit", "verify").code == 0


def test_a_worker_carries_what_was_detached(shop) -> None:
    detached = shop.run("deploy", "api@1.0.0", "--detach")
    assert (detached.code, "no worker is alive, so nothing happens yet" in detached.out) == (0, True)
    worker = shop.start("worker", "--name", "night")
    try:
        watched = shop.run("status", "--watch", "--json")
        assert (watched.code, watched.document["rollout"]["status"]) == (0, "done"), watched.out + watched.err
        assert "resuming" not in watched.err
    finally:
        worker.send_signal(signal.SIGTERM)
        out, err = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0, out + err
    assert "Traceback" not in out + err
    assert "worker night carries" in err
    assert "1.0.0 has all of the traffic" in out


def test_a_terminal_gets_a_tree_and_a_warning_before_one_leaves(shop) -> None:
    assert shop.run("deploy", "api@1.0.0").code == 0
    with Terminal(shop.folder, "deploy", "api@1.1.0") as terminal:
        terminal.read_until("step 4 of 6")
        terminal.type("\x03")
        terminal.read_until("keeps 10 % of the traffic and nobody watches it")
        terminal.read_until("leave anyway: Ctrl-C again")
        terminal.type("\x03")
        assert terminal.ends() == 130
    assert "●" in terminal.seen
    assert "crossfade abort api production" in terminal.seen
    assert "Traceback" not in terminal.seen
    assert shop.run("abort").code == 0
