"""The first publication of the Navi example, killed (SIGKILL) at one instant after another: `python navi_killed.py FOLDER`.

An instant lies before each call that changes something outside of the process: uploads, tags of registries, git tags, and
every line of the journal. As nothing happens between two of them, the instant before one is the instant after the other.
For each: stores as they are when nothing was ever published, `crossfade publish` until it is killed, a look, `crossfade
publish` again, a look. One line of JSON each; the last is that of the run which nothing has killed.

Children are forked, because starting is slow; npm packs once, because it makes the same bytes every time.
"""

import importlib
import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from crossfade.artifacts.cdn.registry import Cdn
from crossfade.artifacts.packing import Packed, pack
from crossfade.artifacts.registries.npm import NpmRegistry
from crossfade.artifacts.registries.oci.registry import OciRegistry
from crossfade.cli.main import main as crossfade
from crossfade.engine import checkout
from crossfade.store.publications import Publications
from crossfade.versioning import tags

NEVER = -1


class Death:
    """Comes before call number `at` of those that it is `before`."""

    def __init__(self, at):
        self.at, self.calls = at, 0

    def _comes(self, what):
        if self.calls == self.at:
            os.write(1, f"before {what}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1

    def before(self, owner, name, of=lambda *_: True):
        """Wait at `owner.name`, for the calls that `of` says."""
        real = getattr(owner, name)
        called = f"{owner.__name__.rpartition('.')[2]}.{name}"

        def instead(*args, **words):
            if of(*args):
                self._comes(f"{called} of {args[2].component} {args[3].state}" if name == "note" else called)
            return real(*args, **words)

        setattr(owner, name, instead)

    def everywhere(self):
        for registry in (NpmRegistry, OciRegistry, Cdn):
            self.before(registry, "upload")
            self.before(registry, "tag")
        for name in ("begin", "note", "note_tag", "finish", "complete"):
            self.before(Publications, name)
        self.before(tags, "git", lambda _, *argv: argv[:2] == ("tag", "--annotate"))


async def pack_once(folders, into, *, versions):
    """The tarballs of the first time."""
    packed = {at: into / f"{at.name.replace('/', '+')}-{at.version}.tgz" for at in folders}
    if not all(path.exists() for path in packed.values()):
        return await pack(folders, into, versions=versions)
    return tuple(Packed(at, path) for at, path in packed.items())


def in_child(folder, *commands, at=NEVER):
    """Run commands in a process of their own: what each ends with and prints, or None when it was killed."""
    said = Path(f"{folder}-said")
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            checkout.pack = pack_once
            Death(at).everywhere()
            ended = []
            for number, each in enumerate(commands):
                output = os.open(f"{said}-{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(output, 1)
                os.dup2(output, 2)
                ended.append(crossfade(each))
            said.write_text(json.dumps([ended, list(sys.modules)]))
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    printed = [Path(f"{said}-{number}").read_text() for number in range(len(commands))]
    if os.WIFSIGNALED(status):
        return None, printed[0].splitlines()[-1]
    ended, modules = json.loads(said.read_text())
    for name in modules:  # what one child has imported, the next ones find
        with suppress(ImportError):
            importlib.import_module(name)
    return list(zip(ended, printed, strict=True)), None


def afresh(folder):
    """As it was before anything was published; what was built and packed stays."""
    stores = [
        *(folder / "cdn").iterdir(),
        folder / ".registries/images/docker",
        folder / ".registries/npm/@awell-health",
    ]
    state = [each for each in (folder / ".crossfade").glob("*") if each.name not in ("builds", "packed")]
    for each in (*stores, *state):
        if each.is_dir():
            shutil.rmtree(each)
        else:
            each.unlink(missing_ok=True)
    standing = subprocess.check_output(["git", "tag"], cwd=folder, text=True).split()
    if standing:
        subprocess.run(["git", "tag", "--delete", *standing], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def published(folder):
    """Every file of the registries' own that holds published bytes, and when it was written where: none is ever again."""
    tarballs = (folder / ".registries/npm").rglob("*.tgz")
    blobs = (folder / ".registries/images").rglob("blobs/sha256/*/*/data")
    versions = (folder / "cdn").glob("v?.?.?/*")
    there = {}
    for path in (*tarballs, *blobs, *versions):
        with suppress(FileNotFoundError):
            facts = path.stat()
            there[str(path.relative_to(folder))] = [facts.st_mtime_ns, facts.st_ino]
    return there


LOOKS = (["publish"], ["audit", "verify"], ["--json", "events"], ["--json", "publish", "--list"])
REFS = ("git", "for-each-ref", "--format=%(refname:strip=2) %(objecttype) %(*objectname)", "refs/tags")


def main(folder):
    at, killed = 0, "not yet"
    while killed:
        afresh(folder)
        _, killed = in_child(folder, ["publish"], at=at)
        then = published(folder)
        (again, verified, events, listed), _ = in_child(folder, *LOOKS)
        end = published(folder)
        line = {
            "at": at,
            "killed": killed,
            "again": again,
            "verified": verified[0],
            "written_twice": sorted(name for name in then if end.get(name) != then[name]),
            "published": sorted(end),
            "events": [json.loads(line) for line in events[1].splitlines()],
            "publications": json.loads(listed[1])["publications"],
            "tags": subprocess.check_output(REFS, cwd=folder, text=True).splitlines(),
        }
        sys.stdout.write(json.dumps(line) + "\n")
        at += 1
    sys.stdout.flush()


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    main(Path(sys.argv[1]))
