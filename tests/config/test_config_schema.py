"""The schema and the reference page say what the loader does, and the repository keeps them as made."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest
from ruamel.yaml import YAML

from crossfade.config.explain import PATTERNS
from crossfade.config.load import ConfigError, load_text
from crossfade.config.model import Project
from crossfade.config.quantities import DURATION, RATIO, SHARE, SIZE
from crossfade.config.reference import EXAMPLE, reference_text
from crossfade.config.schema import json_schema, schema_text
from crossfade.config.shape import unwrap, walk
from crossfade.config.starter import starter
from crossfade.config.strategies import BATCH

DOCS = Path(__file__).parents[2] / "docs" / "reference"
HEAD = 'project: shop\ncomponents: {api: {command: [serve, "{port}"]}}\n'


def accepts(text: str) -> bool:
    tree = YAML(typ="safe", pure=True).load(text)
    return jsonschema.Draft202012Validator(json_schema()).is_valid(tree)


def test_it_is_a_schema():
    jsonschema.Draft202012Validator.check_schema(json_schema())


def test_the_repository_keeps_what_the_code_makes():
    again = "run python -m crossfade.config.reference"
    assert (DOCS / "crossfade.schema.json").read_text(encoding="utf-8") == schema_text(), again
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == reference_text(), again


def test_the_example_of_the_page_loads():
    (example,) = re.findall(r"```yaml\n(.*?)```", reference_text(), re.DOTALL)
    assert load_text(example, Path("x")).project.project == "shop"


@pytest.mark.parametrize(
    "text",
    [
        EXAMPLE,
        starter(),
        *(
            f"{HEAD}environments: {{live: {each}}}\n"
            for each in (
                "{}",
                "{strategy: canary, runtime: process, router: caddy, metrics: router}",
                "{strategy: {kind: canary, steps: [0.1%, 5 %, {weight: 50%}], watch: 1h30m}}",
                "{rules: ['requests < 100 over 5m → notify', {metric: p99, above: 2s}, {metric: requests, below: 5}]}",
                "{judge: {tolerance: 1%, latency_ratios: [1, 2, 3.5]}}",
            )
        ),
    ],
)
def test_it_accepts_what_the_loader_accepts(text):
    load_text(text, Path("x"))
    assert accepts(text)


@pytest.mark.parametrize(
    "settings",
    [
        "{startegy: canary}",
        "{strategy: canry}",
        "{strategy: {steps: [5%]}}",
        "{strategy: {kind: canary, steps: [5]}}",
        "{strategy: {kind: canary, watch: 5}}",
        "{rules: [nonsense]}",
        "{judge: {alpha: 2}}",
        "{variables: {A B: x}}",
        "{instances: '2'}",
        "null",
    ],
)
def test_it_refuses_what_the_loader_refuses(settings):
    text = f"{HEAD}environments: {{live: {settings}}}\n"
    with pytest.raises(ConfigError):
        load_text(text, Path("x"))
    assert not accepts(text)


def test_every_key_is_described():
    for path, section in walk(Project):
        for name, field in section.model_fields.items():
            assert field.description, (path, name)


def patterns(schema) -> set[str]:
    if isinstance(schema, list):
        return {each for item in schema for each in patterns(item)}
    if not isinstance(schema, dict):
        return set()
    own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
    return (
        own | set(schema.get("patternProperties", {})) | {each for value in schema.values() for each in patterns(value)}
    )


def test_every_pattern_has_words():
    read_by_the_model_itself = {each.pattern for each in (DURATION, SHARE, RATIO, SIZE, BATCH)} | {
        section.shorthand.pattern for _, section in walk(Project) if section.shorthand is not None
    }
    assert patterns(json_schema()) - read_by_the_model_itself == set(PATTERNS)


def test_defaults_are_written_as_people_write_them():
    health = json_schema()["$defs"]["Health"]["properties"]
    assert health["interval"]["default"] == "1s"
    assert json_schema()["$defs"]["Canary"]["properties"]["steps"]["default"] == ["5%", "25%", "50%"]
    assert unwrap(int | None).optional
