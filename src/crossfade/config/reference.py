"""The reference page and the JSON Schema that the repository keeps, made from the model.

`python -m crossfade.config.reference FOLDER` writes both; a test holds them to the code.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo

from crossfade.config.explain import PATTERNS
from crossfade.config.model import Project
from crossfade.config.quantities import Quantity
from crossfade.config.rules import METRICS
from crossfade.config.schema import schema_text, written
from crossfade.config.section import Section
from crossfade.config.shape import Place, kind_of, of_field, walk

EXAMPLE = """\
project: shop

components:
  api:
    command: [python, -m, shop.api, --port, "{port}"]
    directory: releases/{version}
    environment:
      SHOP_VERSION: "{version}"
    instances: 2
    health: {path: /healthz, interval: 1s, timeout: 2s, failures: 3}
    ready: {path: /ready, deadline: 1m}
    drain: {timeout: 30s, grace: 10s}
    logs: {max_size: 10MB, keep: 5}
    version_proof: {path: /version, field: version}

environments:
  staging:
    router: {kind: caddy, listen: "127.0.0.1:8081"}
    strategy: direct
    instances: 1

  production:
    runtime: process
    router:
      kind: caddy
      listen: ":8080"
      sticky: {cookie: shop_bucket}
      override_header: X-Canary
    metrics: router
    strategy:
      kind: canary
      smoke:
        - {path: /, status: 200, contains: shop}
      steps:
        - 1%
        - {weight: 5%, watch: 10m}
        - {weight: 50%, pause: true}
      watch: 5m
      final_watch: 30m
      adaptive: true
      hold: 30m
    judge:
      alpha: 0.01
      warmup: 20s
    rules:
      - error_rate > 5% over 1m -> rollback
      - p99 > 800ms over 5m -> pause
      - stable.error_rate > 2% over 1m -> pause
      - health_failures > 3 -> rollback
      - {metric: requests, below: 100, over: 5m, then: notify}
    variables:
      SHOP_ENVIRONMENT: production
"""
"""A file that uses most of what there is; a test loads it."""

_HEAD = """\
# `crossfade.yaml`

Made from the code by `python -m crossfade.config.reference`; a test keeps it true.

Durations are written `250ms`, `30s`, `5m`, `1h30m`; percentages `5%`; sizes `10MB`, `64KiB`. A number
without its unit is an error, and so are an unknown key, a key that is there twice, and YAML's anchors,
merge keys and tags: every line means what it says where it stands. `crossfade check` tells all faults
at once, each with its line. `crossfade schema` prints the JSON Schema for editors, which the repository
also keeps as [crossfade.schema.json](crossfade.schema.json): with the YAML language server, put
`# yaml-language-server: $schema=PATH` in the first line.

## A whole file

```yaml
{example}```

## Placeholders

`{{port}}`, `{{version}}` and `{{instance}}` are replaced in `command` and in the values of `environment` and
`variables`; `{{version}}` and `{{instance}}` in `directory`. Put them in quotes where a value starts with
one. `{{{{` and `}}}}` stand for the braces themselves. In the queries of `metrics`, where braces are part of
the language, only `{{arm}}`, `{{version}}`, `{{component}}` and `{{environment}}` are replaced.

## Rules in one line

`[ARM.]METRIC > BOUND [over WINDOW] -> ACTION`, such as `error_rate > 1% over 5m -> rollback`. The arm is
`canary` unless `stable.` stands before the metric; `<` fires below the bound; `→` may stand for `->`.
The unit of a bound follows from its metric:

| metric | bound | in Python |
|---|---|---|
{metrics}

A metric of your own stands below `metrics.named` ([how to](../how-to/rules-on-your-own-metrics.md)). Its bound may be a percentage (held
as a ratio), a duration (seconds), a size (bytes) or a plain number, and its values are shown in the same unit.

## Warnings

A file may be right and still not meant: a drain of 0s, a first step within the warm-up, a comparison that is
off and no rules, a named metric that no rule is about. `crossfade check` tells them beside the faults, and nothing is stopped by them.
"""

_MEANING = {
    "percentage": ("a percentage, `1%`", "a ratio, 0.01"),
    "duration": ("a duration, `800ms`", "seconds, 0.8"),
    "count": ("a plain number, `100`", "100"),
}


def reference_text() -> str:
    """The page `docs/reference/configuration.md`."""
    metrics = "\n".join(f"| `{name}` | {' | '.join(_MEANING[unit])} |" for name, unit in METRICS.items())
    parts = [_HEAD.format(example=EXAMPLE, metrics=metrics)]
    told: set[type[Section]] = set()
    for path, section in walk(Project):
        if section not in told:
            parts.append("\n".join(_section(path, section)))
        told.add(section)
    return "\n".join(parts)


def _section(path: tuple[str | int, ...], section: type[Section]) -> Iterator[str]:
    name = ".".join(map(str, path)).replace("*", "NAME")
    kind = kind_of(section)
    yield f"## {f'`{name}`' if name else 'Top level'}" + (f", kind `{kind}`" if kind else "")
    yield ""
    yield (section.__doc__ or "").split("\n")[0]
    if section.shorthand is not None:
        yield ""
        yield "In one line: " + ", ".join(f"`{each}`" for each in section.shorthand.examples) + "."
    yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key, field in sorted(section.model_fields.items(), key=lambda item: item[0] != "kind"):
        yield f"| `{key}` | {_value(field)} | {_default(field)} | {field.description or ''} |".replace("{ ", "{")
    yield ""


def _value(field: FieldInfo) -> str:
    place = of_field(field)
    limits = _limits(place)
    return _type(place) + (f", {limits}" if limits else "")


def _type(place: Place) -> str:
    if place.quantity is not None:
        return f"{place.quantity.name}"
    if len(place.sections) > 1:
        return "one of " + ", ".join(f"`{kind_of(each)}`" for each in place.sections)
    if place.sections:
        return "keys with values" + (" or one line" if place.shorthand is not None else "")
    if get_origin(place.type) is Literal:
        return " or ".join(f"`{each}`" for each in get_args(place.type))
    if get_origin(place.type) is dict and place.item is not None:
        return f"names, each with {_type(place.item)}"
    if get_origin(place.type) is tuple and place.item is not None:
        arguments = get_args(place.type)
        count = f"{len(arguments)} " if arguments[-1] is not Ellipsis else ""
        return f"list of {count}{_plural(_type(place.item))}"
    return {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", Any: "anything"}[place.type]


def _plural(name: str) -> str:
    return {"text": "texts", "number": "numbers", "keys with values": "sections"}.get(name, f"sections ({name})")


def _limits(place: Place) -> str:
    words = {"gt": "more than {}", "ge": "at least {}", "lt": "less than {}", "le": "at most {}"}
    found = []
    for each in _constraints(place.metadata):
        for attribute, sentence in words.items():
            bound = getattr(each, attribute, None)
            if bound is not None and not (attribute == "ge" and bound == 0):
                plain = written(place, bound) if place.quantity is not None else f"{bound:.15g}"
                found.append(sentence.format(plain))
        pattern = getattr(each, "pattern", None)
        if isinstance(pattern, str) and pattern in PATTERNS:
            found.append(
                PATTERNS[pattern].removeprefix("must be ").removeprefix("must ").replace("start with", "starting with")
            )
    return ", ".join(found)


def _constraints(metadata: tuple[Any, ...]) -> Iterator[Any]:
    for each in metadata:
        if isinstance(each, FieldInfo):
            yield from _constraints(tuple(each.metadata))
        elif not isinstance(each, Quantity):
            yield each


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = written(of_field(field), field.get_default(call_default_factory=True))
    if value is None or value in ({}, []):
        return ""
    return f"`{_flow(value)}`"


def _flow(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)


def main(folder: Path) -> None:
    """Write both files into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "configuration.md").write_text(reference_text(), encoding="utf-8")
    (folder / "crossfade.schema.json").write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/reference"))
