"""Publishing against @changesets/cli, on one real verdaccio on loopback.

    python benchmarks/publish.py [--packages 100] [--rounds 3] [--rate 100] [--json]

Two measurements, in rounds in which the sides take turns, each with a generated monorepo of its own (ten layers, the same
packages under another scope, fresh names in every round):

- *publication*: everything is absent. changesets makes no git tags here (`--no-git-tag`); crossfade also reads every
  tarball back and compares it, and tags in git. Both use the same npm and the same Node.
- *nothing to do*: all of it is published. `find` is the function that asks, alone in a running process; the floor is one
  connection that asks for one package after the other.

CPU seconds are those of the client and all that it starts, user and system; `server` is verdaccio's. Reported are medians, and
how many times less CPU than changesets. After every publication each version is asked for. `--rate` is the `rate` of the
registry in crossfade.yaml: most requests in a second.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import psutil

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "artifacts"))

from registry_world import Verdaccio  # type: ignore[import-not-found]  # it stands beside the tests

from crossfade.artifacts.port import Coordinate
from crossfade.artifacts.registries.npm import NpmRegistry
from crossfade.config.publishing import NpmRegistry as Settings
from versioning import CHANGESET, CROSSFADE, THEIRS, TOOLS, Taken, generate, once, require_tools

OURS, FIND, FLOOR = "crossfade", "crossfade, find alone", "floor: one connection"
PUBLICATION, NOTHING = "publication", "nothing to do"
ORDER = {PUBLICATION: (THEIRS, OURS), NOTHING: (THEIRS, OURS, FIND, FLOOR)}
ABBREVIATED = {"Accept": "application/vnd.npm.install-v1+json"}
Row = dict[str, Any]


class Seen(NamedTuple):
    """What was measured once: the client, and the processor's seconds that the server spent meanwhile."""

    client: Taken
    server_s: float


@dataclass(frozen=True, slots=True)
class World:
    """A registry, what programs need to find it and to publish to it, and what is to be measured."""

    registry: Verdaccio
    env: Mapping[str, str]
    packages: int
    rate: int

    def watched(self, work: Callable[[], Taken]) -> Seen:
        """Do the work, and see what it costs the server."""
        process = self.registry._process  # noqa: SLF001 - the registry is ours
        server = psutil.Process(process.pid)
        before = sum(server.cpu_times()[:2])
        client = work()
        return Seen(client, sum(server.cpu_times()[:2]) - before)


def main() -> None:
    parser = argparse.ArgumentParser(description="Publishing against @changesets/cli.")
    parser.add_argument("--packages", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    require_tools()
    result = measure(options.packages, options.rounds, options.rate)
    if options.json:
        print(json.dumps(result, indent=2))
    else:
        show(result)


def measure(packages: int, rounds: int, rate: int) -> dict[str, Any]:
    """All measurements on one registry; medians."""
    taken: dict[tuple[str, str], list[Seen]] = {}
    with tempfile.TemporaryDirectory() as folder, started(Path(folder), packages, rate) as world:
        for number in range(rounds):
            for (what, who), seen in once_each(world, Path(folder) / f"round-{number}", number):
                taken.setdefault((what, who), []).append(seen)
            more = said_of(world, Path(folder) / f"round-{number}" / "ours")
    rows = [row(what, who, taken) for what, sides in ORDER.items() for who in sides]
    return {"packages": packages, "rounds": rounds, "rate": rate, "rows": rows, "more": more}


@contextmanager
def started(folder: Path, packages: int, rate: int) -> Iterator[World]:
    """A registry of its own, which is ended at the end."""
    os.environ["PATH"] = os.pathsep.join([str(TOOLS / ".bin"), os.environ["PATH"]])  # one Node for all
    registry = Verdaccio(folder / "registry", str(TOOLS / ".bin" / "verdaccio"))
    registry.start()
    try:
        token = registry.token()
        settings = folder / "npmrc"
        address = registry.url.removeprefix("http:")
        settings.write_text(f"registry={registry.url}/\n{address}/:_authToken={token}\n")
        env = {
            "NPM_TOKEN": token,
            "NPM_CONFIG_USERCONFIG": str(settings),
            "NPM_CONFIG_CACHE": str(folder / "npm-cache"),
            "NPM_CONFIG_UPDATE_NOTIFIER": "false",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@example.test",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@example.test",
        }
        yield World(registry, env, packages, rate)
    finally:
        registry.kill()


def once_each(world: World, folder: Path, number: int) -> Iterator[tuple[tuple[str, str], Seen]]:
    """One round: both publish, both are told to publish what is published; the side that begins changes."""
    places = {THEIRS: folder / "theirs", OURS: folder / "ours"}
    wanted = {who: monorepo(world, place, f"@{place.name}-{number}") for who, place in places.items()}
    turns = (THEIRS, OURS) if number % 2 else (OURS, THEIRS)
    for who in turns:
        command = [*CHANGESET, "publish", "--no-git-tag"] if who == THEIRS else [*CROSSFADE, "publish"]
        says = "Successfully published" if who == THEIRS else "git has the tags"
        yield (PUBLICATION, who), world.watched(lambda: once(command, places[who], says=says, env=world.env))  # noqa: B023 - done at once
        floor(world, wanted[who])  # everything is there
    for who in turns:
        command = [*CHANGESET, "publish"] if who == THEIRS else [*CROSSFADE, "publish"]
        says = "No unpublished projects" if who == THEIRS else "everything is published"
        yield (NOTHING, who), world.watched(lambda: once(command, places[who], says=says, env=world.env))  # noqa: B023 - done at once
    yield (NOTHING, FIND), world.watched(lambda: find(world, wanted[OURS]))
    yield (NOTHING, FLOOR), world.watched(lambda: floor(world, wanted[OURS]))


def monorepo(world: World, folder: Path, scope: str) -> dict[str, str]:
    """A repository that both could publish; the versions in it by name."""
    names = [f"p{number:05}" for number in range(world.packages)]
    components = {name: {"source": f"packages/{name}", "publish": ["npm"]} for name in names}
    npm = {"kind": "npm", "url": world.registry.url, "token": "$NPM_TOKEN", "rate": world.rate}
    configuration = {"project": "many", "components": components, "registries": {"npm": npm}}
    files = {"crossfade.yaml": json.dumps(configuration, indent=2), ".gitignore": ".crossfade/\n"}
    for name in names:
        files[f"packages/{name}/index.js"] = f'export const name = "{name}";\n' * 40
        files[f"packages/{name}/README.md"] = f"# {name}\n\nOne of many.\n"
    return generate(folder, world.packages, 0, scope=scope, files=files)


def find(world: World, versions: Mapping[str, str]) -> Taken:
    """Ask for all versions with the function that `crossfade publish` asks with."""
    settings = Settings.model_validate({"url": world.registry.url, "token": "$NPM_TOKEN", "rate": world.rate})

    async def ask() -> int:
        registry = NpmRegistry.of("npm", settings, world.env)
        found = await registry.find([Coordinate(*each) for each in versions.items()])
        await registry.aclose()
        return len(found)

    began, cpu = time.perf_counter(), time.process_time()
    found = asyncio.run(ask())
    taken = Taken(time.perf_counter() - began, time.process_time() - cpu)
    if found != len(versions):
        sys.exit(f"{found} of {len(versions)} versions were found")
    return taken


def floor(world: World, versions: Mapping[str, str]) -> Taken:
    """Ask for one package after the other; the end of everything where a version is not there."""
    connection = http.client.HTTPConnection(world.registry.url.removeprefix("http://"))
    began, cpu = time.perf_counter(), time.process_time()
    for name, version in versions.items():
        connection.request("GET", "/" + name.replace("/", "%2f"), headers=ABBREVIATED)
        if version not in json.loads(connection.getresponse().read()).get("versions", ()):
            sys.exit(f"{name}@{version} is not published")
    taken = Taken(time.perf_counter() - began, time.process_time() - cpu)
    connection.close()
    return taken


def said_of(world: World, folder: Path) -> dict[str, int]:
    """What crossfade has done beyond uploading, by its own record and by git: how many of each."""
    env = {**os.environ, **world.env}
    listed = subprocess.run(
        [*CROSSFADE, "publish", "--list", "--json"], cwd=folder, env=env, check=True, capture_output=True
    )
    items = json.loads(listed.stdout)["publications"][0]["items"]
    tags = subprocess.run(["git", "tag", "--list"], cwd=folder, check=True, capture_output=True).stdout.split()
    return {"read back and compared": sum(bool(item["integrity"]) for item in items), "git tags": len(tags)}


def row(what: str, who: str, taken: Mapping[tuple[str, str], list[Seen]]) -> Row:
    """One line of the table."""

    def median(of: Callable[[Seen], float], side: str) -> float:
        return statistics.median(of(seen) for seen in taken[what, side])

    cpu = median(lambda seen: seen.client.cpu, who)
    return {
        "what": what,
        "who": who,
        "wall_s": median(lambda seen: seen.client.wall, who),
        "cpu_s": cpu,
        "server_s": median(lambda seen: seen.server_s, who),
        "ratio": None if who == THEIRS else median(lambda seen: seen.client.cpu, THEIRS) / cpu,
    }


def show(result: Mapping[str, Any]) -> None:
    print(f"{result['packages']} packages, at most {result['rate']} requests/s of crossfade's")
    print(f"{'what':14} {'who':22} {'CPU s':>8} {'wall s':>8} {'server s':>9} {'× less CPU':>11}")
    for each in result["rows"]:
        ratio = f"{each['ratio']:.1f}" if each["ratio"] else ""
        times = f"{each['cpu_s']:8.2f} {each['wall_s']:8.2f} {each['server_s']:9.2f}"
        print(f"{each['what']:14} {each['who']:22} {times} {ratio:>11}".rstrip())
    print(f"\nof crossfade's last publication: {', '.join(f'{n} {what}' for what, n in result['more'].items())}")


if __name__ == "__main__":
    main()
