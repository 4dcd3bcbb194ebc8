"""Several releases as one, by commands alone, on real parts."""

from __future__ import annotations

import sys

import pytest
from shapes import holds

from free_ports import free_port

pytestmark = pytest.mark.real

_WEB = """\
  web:
    command: [{python}, -m, crossfade.demo.app, --port, "{{port}}", --version, "{{version}}"]
    ready: {{deadline: 20s}}
    drain: {{timeout: 2s, grace: 2s}}
environments:
  production:
    listen: {{web: "127.0.0.1:{port}"}}
"""


@pytest.fixture
def pair(shop):
    """The shop with a second component, which has an address of its own."""

    text = _WEB.format(python=sys.executable, port=free_port())
    shop.begin(shop.file.read_text().replace("environments:\n  production:\n", text))
    return shop


def test_a_set_by_commands(pair) -> None:
    first = pair.run("deploy", "api@1.0.0", "web@1.0.0", "production", "--json")
    assert first.code == 0, first.out + first.err
    holds("SetObject", first.document)
    assert [each["status"] for each in first.document["rollouts"]] == ["done", "done"]

    plan = pair.run("plan", "api@1.1.0", "web@1.1.0")
    for barrier in ("until all of the set are ready", "may go to 100 %", "are done watching"):
        assert plan.out.count(barrier) == 2, plan.out
    holds("PlansObject", pair.run("plan", "api@1.1.0", "web@1.1.0", "--json").document)

    waits = pair.run("deploy", "api@1.1.0", "web@1.1.0", "--json", "--reason", "together")
    assert waits.code == 4, waits.out + waits.err
    set_id = waits.document["set"]
    assert [each["set"] for each in waits.document["rollouts"]] == [set_id, set_id]
    shown = pair.run("status", set_id)
    assert (shown.code, "2 releases together, in production" in shown.out) == (0, True)
    assert f"in {set_id}" in pair.run("status", "web", "production").out
    listed = pair.run("history", set_id, "--json").document["rollouts"]
    assert [each["component"] for each in listed] == ["api", "web"]
    again = pair.run("deploy", "api@1.1.0", "web@1.1.0", "production", "--json", "--detach")
    assert (again.code, again.document["set"]) == (0, set_id)
    refused = pair.run("deploy", "api@1.2.0", "web@1.2.0")
    assert (refused.code, "under way" in refused.err) == (2, True)

    back = pair.run("abort", set_id, "--reason", "second thoughts", "--json")
    assert back.code == 0, back.out + back.err
    holds("SetObject", back.document)
    assert [each["status"] for each in back.document["rollouts"]] == ["rolled-back", "rolled-back"]
    assert pair.run("abort", set_id).code == 2
    assert pair.run("status", "rs_unknown").code == 2
    targets = pair.run("status", "--json").document["targets"]
    assert {(each["component"], each["version"]) for each in targets} == {("api", "1.0.0"), ("web", "1.0.0")}
    assert pair.run("audit", "verify").code == 0


@pytest.mark.parametrize("name", ["ro_api", "rs_api"])
def test_a_component_may_be_called_like_the_beginning_of_an_id(shop, name) -> None:
    shop.begin(shop.file.read_text().replace("  api:\n", f"  {name}:\n"))
    assert shop.run("plan", f"{name}@1.0.0").code == 0
    shown = shop.run("status", name, "production")
    assert (shown.code, name in shown.out) == (0, True), shown.err
    assert shop.run("history", name).code == 0
    refused = shop.run("pause", name, "production")
    assert (refused.code, f"{name} in production" in refused.err) == (2, True), refused.err
