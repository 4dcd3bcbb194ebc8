"""A job that is run twice does its work once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crossfade.config.model import Component, Deployment, Environment
from crossfade.engine.control import Control
from crossfade.engine.seen import read_seen
from crossfade.rollouts.rollout import Rollout
from crossfade.store import Store, Target, Turn


def deployment(tmp_path, **workload) -> Deployment:
    return Deployment(
        project="shop",
        component="api",
        environment="production",
        root=str(tmp_path),
        state=str(tmp_path),
        workload=Component(command=("serve",), **workload),
        instances=1,
        settings=Environment(),
    )


@pytest.fixture
def control(tmp_path):
    control = Control(Store.open(f"sqlite:///{tmp_path}/state.db"))
    yield control
    control.close()


def finish(control: Control, rollout: Rollout) -> None:
    [claim] = control.store.claim("w", limit=1, lease=5.0)
    done = replace(rollout, status="done", promoted=True, finished_at=1.0)
    target = Target("api", "production", version="1.0.0", slot="blue", fence=1)
    assert control.store.write([Turn(done, claim.lease_fence, 0.0, target=target)])


def test_what_is_there_already_is_not_rolled_out_again(control, tmp_path):
    first = control.deploy(deployment(tmp_path), "1.0.0", actor="ci")
    finish(control, first.rollout)
    again = control.deploy(deployment(tmp_path), "1.0.0", actor="ci")
    assert again.rollout.id == first.rollout.id
    assert len(control.history()) == 1


def test_the_same_version_run_otherwise_is_rolled_out(control, tmp_path):
    first = control.deploy(deployment(tmp_path), "1.0.0", actor="ci")
    finish(control, first.rollout)
    again = control.deploy(deployment(tmp_path, environment={"LOG": "debug"}), "1.0.0", actor="ci")
    assert again.rollout.id != first.rollout.id


def test_a_look_of_another_shape_is_as_good_as_none():
    assert read_seen({"instances": 3}) is None
