"""Build metadata: the file as people know it, pipelines' variables, real tools, and builds that repeat."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from crossfade.artifacts.metadata import BuildMetadata, Surroundings, surroundings, tool_versions, tools_of, write_span
from crossfade.core.errors import BadInputError

BUILT = datetime(2025, 11, 19, 10, 30, tzinfo=UTC)


def test_the_file_is_as_people_know_it():
    tools = {"node": "20.10.0", "npm": "10.2.0"}
    text = BuildMetadata("1.0.0", "a1b2c3d", BUILT, "123", "main", tools, 323.0).as_text()
    assert text == (
        "{\n"
        '  "version": "1.0.0",\n'
        '  "gitSha": "a1b2c3d",\n'
        '  "buildDate": "2025-11-19T10:30:00Z",\n'
        '  "buildNumber": "123",\n'
        '  "branch": "main",\n'
        '  "nodeVersion": "20.10.0",\n'
        '  "npmVersion": "10.2.0",\n'
        '  "buildDuration": "5m 23s"\n'
        "}\n"
    )


def test_what_is_not_known_is_left_out():
    assert list(BuildMetadata("1.0.0", None, BUILT).as_json()) == ["version", "buildDate"]


def test_the_date_is_told_in_utc():
    there = datetime(2025, 11, 19, 12, 30, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert BuildMetadata("1.0.0", None, there).as_json()["buildDate"] == "2025-11-19T10:30:00Z"


def test_a_build_that_repeats_says_the_same_each_time():
    def build(number, seconds, at):
        return BuildMetadata("1.0.0", "a1b2c3d", at, number, "main", {"node": "20.10.0"}, seconds)

    epoch = surroundings({"SOURCE_DATE_EPOCH": "1763548200"}).date
    one, other = build("1", 1.0, BUILT), build("2", 99.0, BUILT + timedelta(days=1))
    assert one.as_text() != other.as_text()
    assert one.reproducible(epoch).as_text() == other.reproducible(epoch).as_text()
    assert json.loads(one.reproducible(epoch).as_text())["buildDate"] == "2025-11-19T10:30:00Z"


@pytest.mark.parametrize(
    ("variables", "number", "branch"),
    [
        ({}, None, "local"),
        ({"GITHUB_RUN_NUMBER": "7", "GITHUB_REF_NAME": "main", "GITHUB_REF_TYPE": "branch"}, "7", "main"),
        ({"GITHUB_RUN_NUMBER": "7", "GITHUB_REF_NAME": "v1.0.0", "GITHUB_REF_TYPE": "tag"}, "7", "local"),
        ({"GITHUB_HEAD_REF": "fix/a", "GITHUB_REF_NAME": "7/merge", "GITHUB_REF_TYPE": "branch"}, None, "fix/a"),
        ({"CI_PIPELINE_IID": "12", "CI_COMMIT_BRANCH": "develop"}, "12", "develop"),
        ({"CI_PIPELINE_IID": "12", "CI_MERGE_REQUEST_SOURCE_BRANCH_NAME": "mine"}, "12", "mine"),
        ({"BUILD_BUILDNUMBER": "20251119.3", "BUILD_SOURCEBRANCH": "refs/heads/main"}, "20251119.3", "main"),
        ({"BUILD_NUMBER": "44", "GIT_BRANCH": "origin/release/1.x"}, "44", "release/1.x"),
        ({"BUILD_NUMBER": "44", "BRANCH_NAME": "PR-7", "CHANGE_BRANCH": "fix/a"}, "44", "fix/a"),
        ({"CIRCLE_BUILD_NUM": "5", "CIRCLE_BRANCH": "main"}, "5", "main"),
        ({"TRAVIS_BUILD_NUMBER": "5", "TRAVIS_BRANCH": "v1.0.0", "TRAVIS_TAG": "v1.0.0"}, "5", "local"),
        ({"TRAVIS_BUILD_NUMBER": "5", "TRAVIS_BRANCH": "main"}, "5", "main"),
        ({"GITHUB_RUN_NUMBER": "", "BUILD_NUMBER": "44"}, "44", "local"),
    ],
)
def test_pipelines_tell_number_and_branch(variables, number, branch):
    assert surroundings(variables, branch="local") == Surroundings(number, branch, None)


@pytest.mark.parametrize("text", ["yesterday", "1e99", "9" * 30, "12.5"])
def test_a_date_that_is_none_is_refused(text):
    with pytest.raises(BadInputError) as caught:
        surroundings({"SOURCE_DATE_EPOCH": text})
    assert caught.value.code == "metadata.bad-source-date"


@pytest.mark.parametrize(
    ("command", "manifests", "tools"),
    [
        (["pnpm", "build"], ["package.json"], ("node", "pnpm")),
        (["/usr/bin/python3.11", "-m", "build"], ["pyproject.toml"], ("python",)),
        (["sh", "-c", "npm ci && npm run build"], [], ("node", "npm")),
        (["env", "A=b", "go", "build"], [], ("go",)),
        (["./build"], [], ()),
        ([], ["pyproject.toml", "package.json"], ("python", "node")),
    ],
)
def test_the_tools_of_a_build_are_found(command, manifests, tools):
    assert tools_of(command, manifests=manifests) == tools


def said_by(node):
    return subprocess.run(
        [node, "-p", "process.versions.node"], capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.real
async def test_real_tools_say_their_versions(require):
    found = await tool_versions(["node", "python", "no-such-tool"], dict(os.environ))
    assert found == {"node": said_by(require("node")), "python": sys.version.split()[0]}


async def test_a_tool_that_fails_hangs_or_says_nothing_has_no_version(tmp_path):
    for name, script in {
        "go": "exit 1",
        "uv": "exec sleep 600",
        "pip": "echo hello",
        "make": "echo Make 4.4.1 2.3",
    }.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    variables = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    assert await tool_versions(["go", "uv", "pip", "make"], variables, patience=2.0) == {"make": "4.4.1"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(59.4, "59s"), (59.6, "1m 0s"), (3600, "1h 0m 0s"), (90_061, "25h 1m 1s")]
)
def test_spans(seconds, text):
    assert write_span(seconds) == text
