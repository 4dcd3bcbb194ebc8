"""Runs the commands that a page shows, against the real command line, and compares what they print.

A page takes part with the comment `<!-- transcript -->`. In it

- a fenced block ```` ```yaml file=crossfade.yaml ```` is written into the page's own empty folder;
- a block ```` ```console ```` is a list of commands (`$ crossfade check`), each with its output below;
  ```` ```console exit=3 ```` says that its last command ends with 3 and not 0; a line that ends in a
  backslash goes on in the next;
- in the expected output `...` alone on a line stands for any lines, `...` or `…` inside a line for any text, and
  `<id>` (any word in angle brackets) for one word;
- `<!-- transcript ports=8080,8081 -->` names ports that are replaced by free ones, everywhere on the page.

Whatever a page leaves running is found, by a mark in its environment or by its working directory, and
ended by process id.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from free_ports import free_port

MARKER = re.compile(r"<!-- transcript(?: ports=([\d,]+))? -->")
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "TRANSCRIPT_OF_TEST"
"""Not `CROSSFADE_…`: instances do not inherit what is named so, and would not be found."""
DEADLINE = 300.0
"""Seconds after which a command counts as hanging."""


@dataclass(frozen=True)
class File:
    """A file that the page shows."""

    name: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command that the page shows, what it prints there, and the exit code that it ends with."""

    line: str
    output: str
    exit_code: int = 0


def takes_part(text: str) -> bool:
    """Whether a page asks to be run."""
    return MARKER.search(text) is not None


def parse(text: str) -> list[File | Command]:
    """What a page shows, in its order."""
    found: list[File | Command] = []
    for language, info, body in FENCE.findall(text):
        options = dict(option.split("=", 1) for option in info.split() if "=" in option)
        if "file" in options:
            found.append(File(options["file"], body))
        elif language == "console":
            found += _commands(body, int(options.get("exit", "0")))
    return found


def _commands(body: str, last_exit: int) -> Iterator[Command]:
    parts = re.split(r"^\$ ", body, flags=re.MULTILINE)
    if parts[0].strip():
        message = f"a console block begins with `$ `, not with {parts[0]!r}"
        raise ValueError(message)
    for number, part in enumerate(parts[1:], 1):
        match = re.match(r"((?:[^\n]*\\\n)*[^\n]*)\n?(.*)", part, flags=re.DOTALL)
        assert match is not None
        yield Command(match[1], match[2], last_exit if number == len(parts) - 1 else 0)


def matches(expected: str, actual: str) -> bool:
    """Whether output is what the page says, wildcards included; spaces at line ends do not count."""
    pattern = ""
    for line in expected.strip("\n").splitlines():
        if line.strip() in {"...", "…"}:
            pattern += r"(?:[^\n]*\n)*?"
            continue
        escaped = re.escape(line.rstrip())
        escaped = re.sub(r"\\\.\\\.\\\.|…", "[^\\\\n]*?", escaped)
        pattern += re.sub(r"<[a-z-]+>|<[a-z]+(?:\\-[a-z]+)*>", r"\\S+", escaped) + r"[ \t]*\n"
    told = actual.strip("\n")
    return re.fullmatch(pattern, f"{told}\n" if told else "") is not None


def free_ports(text: str) -> str:
    """The page with its named ports replaced by ports that nobody listens on."""
    match = MARKER.search(text)
    for port in match[1].split(",") if match and match[1] else []:
        text = re.sub(rf"\b{port}\b", str(free_port()), text)
    return text


def run_page(text: str, folder: Path) -> list[str]:
    """Run a page in `folder`; what differs, one text for each command, empty when all is as it says."""
    mark = uuid.uuid4().hex
    environment = {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "/usr/bin:/bin")]),
        "HOME": str(folder),
        "LC_ALL": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "COLUMNS": "100",
        MARK: mark,
    }
    try:
        return list(_run(parse(free_ports(text)), folder, environment))
    finally:
        end_left(mark, folder)


def _run(steps: list[File | Command], folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    for number, step in enumerate(steps):
        if isinstance(step, File):
            (folder / step.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / step.name).write_text(step.text)
            continue
        # A file, not a pipe: what a command leaves running in the background may hold a pipe open for ever.
        record = folder.with_name(f"{folder.name}-{number}.out")
        with record.open("wb") as out:
            done = subprocess.run(
                ["bash", "-c", step.line],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE,
                check=False,
            )
        output = record.read_text(errors="replace")
        if done.returncode != step.exit_code:
            yield f"$ {step.line}\nended with {done.returncode}, not {step.exit_code}:\n{output}"
        elif not matches(step.output, output):
            yield f"$ {step.line}\nprinted\n{output}\nwhere the page says\n{step.output}"


def end_left(mark: str, folder: Path) -> None:
    """End every process that a page started and left running: by its mark, or because it lives in the folder."""
    give_up = time.monotonic() + 10
    while left := list(_left(mark, folder)):
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM if time.monotonic() < give_up else signal.SIGKILL)
        psutil.wait_procs(left, timeout=1)


def _left(mark: str, folder: Path) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            ours = process.environ().get(MARK) == mark or Path(process.cwd()).is_relative_to(folder)
            if ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                yield process
