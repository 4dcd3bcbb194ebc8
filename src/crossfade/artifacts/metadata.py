"""Build metadata: which commit, built when, where and with what, as JSON beside the artifact.

What is known is asked for once (`surroundings` reads a pipeline's variables, `tool_versions` asks the tools), and
written down by `BuildMetadata`; neither the clock nor the environment is read here.

>>> from datetime import datetime, timezone
>>> built = datetime(2025, 11, 19, 10, 30, tzinfo=timezone.utc)
>>> print(BuildMetadata("1.0.0", "a1b2c3d", built, "123", "main", {"node": "20.10.0"}, 323).as_text(), end="")
{
  "version": "1.0.0",
  "gitSha": "a1b2c3d",
  "buildDate": "2025-11-19T10:30:00Z",
  "buildNumber": "123",
  "branch": "main",
  "nodeVersion": "20.10.0",
  "buildDuration": "5m 23s"
}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import PurePosixPath

from crossfade.core.errors import BadInputError

NUMBERS = (
    "GITHUB_RUN_NUMBER",
    "CI_PIPELINE_IID",
    "BUILD_BUILDNUMBER",
    "CIRCLE_BUILD_NUM",
    "BITBUCKET_BUILD_NUMBER",
    "BUILDKITE_BUILD_NUMBER",
    "DRONE_BUILD_NUMBER",
    "TRAVIS_BUILD_NUMBER",
    "APPVEYOR_BUILD_NUMBER",
    "CODEBUILD_BUILD_NUMBER",
    "BUILD_NUMBER",
)
"""Variables in which a pipeline tells the number of the build; the first that is set counts."""

BRANCHES = (
    "GITHUB_HEAD_REF",
    "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME",
    "CI_COMMIT_BRANCH",
    "SYSTEM_PULLREQUEST_SOURCEBRANCH",
    "BUILD_SOURCEBRANCH",
    "CIRCLE_BRANCH",
    "BITBUCKET_BRANCH",
    "BUILDKITE_BRANCH",
    "DRONE_SOURCE_BRANCH",
    "TRAVIS_PULL_REQUEST_BRANCH",
    "APPVEYOR_PULL_REQUEST_HEAD_REPO_BRANCH",
    "APPVEYOR_REPO_BRANCH",
    "CHANGE_BRANCH",
    "BRANCH_NAME",
    "GIT_BRANCH",
)
"""Variables in which a pipeline tells the branch, those of a pull request first: there git has no branch checked out."""

_DECLARES_BRANCH = {"GITHUB_REF_NAME": ("GITHUB_REF_TYPE", "branch"), "TRAVIS_BRANCH": ("TRAVIS_TAG", "")}
_TOOLS: Mapping[str, tuple[str, ...]] = {
    "npm": ("node", "npm"),
    "npx": ("node", "npm"),
    "pnpm": ("node", "pnpm"),
    "pnpx": ("node", "pnpm"),
    "yarn": ("node", "yarn"),
    "node": ("node",),
    "bun": ("bun",),
    "deno": ("deno",),
    "python": ("python",),
    "pip": ("python", "pip"),
    "uv": ("python", "uv"),
    "poetry": ("python", "poetry"),
    "hatch": ("python", "hatch"),
    "go": ("go",),
    "cargo": ("rustc", "cargo"),
    "docker": ("docker",),
    "podman": ("podman",),
    "buildah": ("buildah",),
    "make": ("make",),
    "java": ("java",),
    "mvn": ("java", "mvn"),
    "gradle": ("java", "gradle"),
    "dotnet": ("dotnet",),
}
_ASKED = {"go": "version", "java": "-version"}
_NUMBERED = re.compile(r"\d+(?:\.\d+)+(?:[-+.][0-9A-Za-z.+-]*[0-9A-Za-z])?")
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is told about a build from outside.

    `number` is the pipeline's number of it and `branch` the branch's plain name, None where they are not known;
    `date` is the instant that a reproducible build carries (SOURCE_DATE_EPOCH), None for a build that carries its own.
    """

    number: str | None = None
    branch: str | None = None
    date: datetime | None = None


@dataclass(frozen=True, slots=True)
class BuildMetadata:
    """All that is written down about one build.

    `built_at` has a time zone; `tools` maps a tool's name to its version; `seconds` is how long the build took. What is
    None is left out.
    """

    version: str
    git_sha: str | None
    built_at: datetime
    number: str | None = None
    branch: str | None = None
    tools: Mapping[str, str] = field(default_factory=dict)
    seconds: float | None = None

    def as_json(self) -> dict[str, str]:
        """The keys in the order in which people read them; every value is a text."""
        known = {
            "version": self.version,
            "gitSha": self.git_sha,
            "buildDate": write_instant(self.built_at),
            "buildNumber": self.number,
            "branch": self.branch,
            **{_key(tool): version for tool, version in self.tools.items()},
            "buildDuration": None if self.seconds is None else write_span(self.seconds),
        }
        return {key: value for key, value in known.items() if value is not None}

    def as_text(self) -> str:
        """The JSON file."""
        return json.dumps(self.as_json(), indent=2, ensure_ascii=False) + "\n"

    def reproducible(self, at: datetime) -> BuildMetadata:
        """The same build without what differs from run to run: dated `at`, without number and duration.

        >>> build = BuildMetadata("1.0.0", None, datetime.now(UTC), "7", seconds=2.0)
        >>> build.reproducible(datetime(2025, 1, 1, tzinfo=UTC)).as_json()
        {'version': '1.0.0', 'buildDate': '2025-01-01T00:00:00Z'}
        """
        return replace(self, built_at=at, number=None, seconds=None)


def surroundings(variables: Mapping[str, str], *, branch: str | None = None) -> Surroundings:
    """What a pipeline's variables tell; `branch` is git's answer, for a build on somebody's own machine.

    BadInputError when SOURCE_DATE_EPOCH is set and is no number of seconds.

    >>> surroundings({"GITHUB_RUN_NUMBER": "123", "GITHUB_REF_TYPE": "branch", "GITHUB_REF_NAME": "main"})
    Surroundings(number='123', branch='main', date=None)
    """
    number = next((variables[name] for name in NUMBERS if variables.get(name)), None)
    declared = [name for name, (other, value) in _DECLARES_BRANCH.items() if variables.get(other, "") == value]
    told = next((variables[name] for name in (*BRANCHES, *declared) if variables.get(name)), None)
    return Surroundings(number, _plain(told) if told else branch, _source_date(variables.get("SOURCE_DATE_EPOCH", "")))


def tools_of(command: Sequence[str], *, manifests: Iterable[str] = ()) -> tuple[str, ...]:
    """The tools whose versions matter to a build: those that its command starts, and those of its manifests.

    >>> tools_of(["npm", "run", "build"]), tools_of(["sh", "-c", "cargo build"]), tools_of(["./make.sh"], manifests=["package.json"])
    (('node', 'npm'), ('rustc', 'cargo'), ('node',))
    """
    words = list(command[:1])
    if words and PurePosixPath(words[0]).name in {"sh", "bash", "zsh", "env"}:
        words = [word for argument in command[1:] for word in _WORD.findall(argument)]
    programs = [re.sub(r"\d[\d.]*$|\.exe$", "", PurePosixPath(word).name) for word in words]
    used = [tool for program in programs for tool in _TOOLS.get(program, ())]
    used += [
        tool for each in manifests for tool in {"package.json": ("node",), "pyproject.toml": ("python",)}.get(each, ())
    ]
    return tuple(dict.fromkeys(used))


async def tool_versions(
    tools: Sequence[str], variables: Mapping[str, str], *, directory: str = ".", patience: float = 10.0
) -> dict[str, str]:
    """The version of each of `tools` that answers, all asked at once; one that is not there has no entry.

    `variables` is the environment of the build, so that the tools asked are the tools that build. `patience` is how long,
    in seconds, an answer may take.
    """
    import asyncio  # noqa: PLC0415 - most who import this module only read or write

    answers = await asyncio.gather(*(_ask(tool, variables, directory, patience) for tool in tools))
    return {tool: answer for tool, answer in zip(tools, answers, strict=True) if answer}


def write_instant(at: datetime) -> str:
    """An instant in UTC, to the second, as RFC 3339 has it.

    >>> write_instant(datetime(2025, 11, 19, 10, 30, tzinfo=UTC))
    '2025-11-19T10:30:00Z'
    """
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_span(seconds: float) -> str:
    """How long something took, in whole seconds.

    >>> [write_span(each) for each in (323, 0.4, 60, 3725.6)]
    ['5m 23s', '0s', '1m 0s', '1h 2m 6s']
    """
    minutes, left = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [f"{hours}h"] * (hours > 0) + [f"{minutes}m"] * (hours > 0 or minutes > 0)
    return " ".join([*parts, f"{left}s"])


async def _ask(tool: str, variables: Mapping[str, str], directory: str, patience: float) -> str:
    import asyncio  # noqa: PLC0415 - as above
    import shutil  # noqa: PLC0415 - as above

    path = next(
        (found for name in (tool, f"{tool}3") if (found := shutil.which(name, path=variables.get("PATH")))), None
    )
    if path is None:
        return ""
    process = await asyncio.create_subprocess_exec(
        path,
        _ASKED.get(tool, "--version"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=directory,
        env=dict(variables),
    )
    try:
        out, _ = await asyncio.wait_for(process.communicate(), patience)
    except TimeoutError:
        process.kill()
        await process.wait()
        return ""
    told = _NUMBERED.search(out.decode(errors="replace")) if process.returncode == 0 else None
    return told.group() if told else ""


def _key(tool: str) -> str:
    """`node` → `nodeVersion`."""
    first, *others = re.split(r"[-_]", tool)
    return first + "".join(other.capitalize() for other in others) + "Version"


def _plain(ref: str) -> str:
    """A branch's plain name: pipelines write `refs/heads/main` and `origin/main` as well."""
    return ref.removeprefix("refs/heads/").removeprefix("origin/")


def _source_date(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (ValueError, OverflowError, OSError):
        raise BadInputError(
            "metadata.bad-source-date",
            f"SOURCE_DATE_EPOCH is {text[:40]!r}, which is not a number of seconds since 1970",
            where="the variable SOURCE_DATE_EPOCH",
            next="set it to what `git log -1 --format=%ct` prints, or unset it",
        ) from None
