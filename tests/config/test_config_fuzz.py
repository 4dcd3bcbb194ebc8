"""Whatever stands in a file, there is a project or a page of faults; never anything else."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from crossfade.config.load import ConfigError, LoadedProject, load, load_text, resolve
from crossfade.config.model import Deployment, Project
from crossfade.config.reference import EXAMPLE
from crossfade.config.schema import json_schema
from crossfade.config.shape import walk
from crossfade.core.errors import BadInputError

LINES = EXAMPLE.splitlines()
KEYS = sorted({name for _, section in walk(Project) for name in section.model_fields} | set(json_schema()["$defs"]))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        [
            "5%",
            "100%",
            "5m",
            "1h30m",
            "0s",
            "99999999999d",
            "1" * 400 + "GB",
            "0.0001ms",
            "canary",
            "process",
            "{port}",
            "{",
            "p99 > 2s -> pause",
            ":0",
            ":99999999999999",
        ]
    ),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=25,
)
QUIET = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def flow(tree) -> str:
    if isinstance(tree, dict):
        return "{" + ", ".join(f"{flow(str(key))}: {flow(value)}" for key, value in tree.items()) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(map(flow, tree)) + "]"
    if tree is None or isinstance(tree, bool):
        return {None: "null", True: "true", False: "false"}[tree]
    if isinstance(tree, float):
        return {"inf": ".inf", "-inf": "-.inf", "nan": ".nan"}.get(str(tree), str(tree))
    return str(tree) if isinstance(tree, int) else "'" + tree.replace("'", "''") + "'"


def outcome(text: str) -> LoadedProject | ConfigError:
    try:
        return load_text(text, Path("crossfade.yaml"))
    except ConfigError as error:
        return error


def check(text: str) -> None:
    loaded = outcome(text)
    if isinstance(loaded, ConfigError):
        lines = len(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
        assert loaded.faults
        assert all(1 <= each.mark.line <= lines and each.mark.column >= 1 and each.what for each in loaded.faults)
        assert all(each.isprintable() or each == "\n" for each in str(loaded))
        assert len(loaded.as_json()["faults"]) == len(loaded.faults)
        return
    for component in loaded.project.components:
        for environment in loaded.project.environments:
            target = resolve(loaded, component, environment, Path("/state"))
            assert Deployment.model_validate_json(target.model_dump_json()) == target


@QUIET
@given(st.text())
def test_any_text(text):
    check(text)


@QUIET
@given(st.text(alphabet="ab:-? []{},&*!|>'\"%@`#\n\t 5", max_size=60))
def test_any_punctuation(text):
    check(text)


@QUIET
@given(TREES)
def test_any_tree(tree):
    check(flow(tree))


@QUIET
@example("environments: {live: {rules: %s}}", "\U00012544")  # no character that this Python knows
@given(
    st.sampled_from(
        [
            "components: {api: %s}",
            "environments: {live: %s}",
            "environments: {live: {strategy: %s}}",
            "environments: {live: {judge: %s}}",
            "environments: {live: {rules: %s}}",
        ]
    ),
    TREES,
)
def test_any_tree_in_any_place(place, tree):
    text = place % flow(tree)
    rest = {
        "project": "project: x",
        "components": "components: {a: {command: [x]}}",
        "environments": "environments: {l: {}}",
    }
    rest.pop(text.split(":")[0])
    check("\n".join([*rest.values(), text]))


@QUIET
@given(st.data())
def test_any_mutation_of_a_good_file(data):
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        kind = data.draw(st.sampled_from(["delete", "double", "indent", "value", "character", "swap", "key"]))
        line = lines[at]
        if kind == "delete":
            lines[at] = ""
        elif kind == "double":
            lines.insert(at, line)
        elif kind == "indent":
            lines[at] = " " * data.draw(st.integers(0, 6)) + line.lstrip()
        elif kind == "value":
            lines[at] = line.split(":")[0] + ": " + flow(data.draw(SCALARS))
        elif kind == "key":
            lines[at] = line.replace(line.strip().split(":")[0], data.draw(st.sampled_from(KEYS)), 1)
        elif kind == "character":
            cut = data.draw(st.integers(0, len(line)))
            lines[at] = line[:cut] + data.draw(st.characters()) + line[cut:]
        else:
            other = data.draw(st.integers(0, len(lines) - 1))
            lines[at], lines[other] = lines[other], lines[at]
    check("\n".join(lines))


@QUIET
@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, data):
    file = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    file.write_bytes(data)
    with suppress(BadInputError):
        load(file)
