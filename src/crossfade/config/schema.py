"""The JSON Schema of `crossfade.yaml` (draft 2020-12), for editors: one-line forms, descriptions, defaults as written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crossfade.config.model import Project
from crossfade.config.section import Section, Shorthand, UsualKind
from crossfade.config.shape import Place, kind_of, of_field, walk

_NAME = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """The schema as a JSON object; it accepts what `load` accepts, as far as a schema can tell.

    >>> json_schema()["title"]
    'crossfade.yaml'
    """
    schema = Project.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs")
    sections = {section: None for _, section in walk(Project)}
    alternatives = {
        each for section in sections for place in _places(section) if len(place.sections) > 1 for each in place.sections
    }
    usual = {
        each for section in sections for place in _places(section) for each in place.sections if _is_usual(each, place)
    }
    for section in sections:
        target = schema if section is Project else definitions[section.__name__]
        target.pop("title", None)
        target["properties"] = {
            name: _property(target["properties"][name], of_field(field), field.get_default(call_default_factory=True))
            for name, field in section.model_fields.items()
        }
        if section in alternatives - usual:
            target["required"] = [*target.get("required", []), "kind"]
        if section.shorthand is not None:
            definitions[section.__name__] = _either(section.shorthand, target)
    for name in ("above", "below"):
        _rule(definitions)["properties"][name]["anyOf"] = [{"type": "number"}, {"type": "string"}, {"type": "null"}]
    return {"$schema": _NAME, "title": "crossfade.yaml", **schema, "$defs": dict(sorted(definitions.items()))}


def _places(section: type[Section]) -> list[Place]:
    return [of_field(field) for field in section.model_fields.values()]


def _is_usual(section: type[Section], place: Place) -> bool:
    return any(isinstance(each, UsualKind) and each.usual == kind_of(section) for each in place.metadata)


def schema_text() -> str:
    """The schema as the repository keeps it and `crossfade schema` prints it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def written(place: Place, value: Any) -> Any:
    """A default as people write it: JSON values only, quantities with their units.

    >>> from crossfade.config.model import Health
    >>> written(of_field(Health.model_fields["interval"]), 1.0)
    '1s'
    """
    if value is not None and place.quantity is not None:
        return place.quantity.write(value).replace(" ", "")
    if isinstance(value, Section):
        short = section_in_short(value)
        return short if short is not None else value.model_dump(mode="json", exclude_defaults=True)
    if isinstance(value, tuple):
        return [written(place.item or place, each) for each in value]
    return value


def section_in_short(value: Section) -> Any:
    """The one-line form of a section that holds nothing else, or None."""
    given = {name: of_field(field) for name, field in type(value).model_fields.items()}
    told = [name for name in given if getattr(value, name) != type(value).model_fields[name].default]
    if hasattr(value, "kind") and not told:
        return value.kind
    if type(value).shorthand is not None and told == ["weight"]:
        return written(given["weight"], getattr(value, "weight"))  # noqa: B009 - only a stage has one
    return None


def _property(schema: Mapping[str, Any], place: Place, default: Any) -> dict[str, Any]:
    result = {key: value for key, value in schema.items() if key not in ("title", "default")}
    own = next((each for each in place.metadata if isinstance(each, Shorthand)), None)
    if own is not None:
        union = {key: result.pop(key) for key in ("oneOf", "discriminator") if key in result}
        union.pop("discriminator", None)
        result["anyOf"] = [{"type": "string", "enum": list(own.examples)}, union]
    if "patternProperties" in result:
        result["additionalProperties"] = False
    if "default" in schema:
        result["default"] = written(place, default)
    return result


def _either(shorthand: Shorthand, section: dict[str, Any]) -> dict[str, Any]:
    line = {"type": "string", "pattern": shorthand.pattern, "examples": list(shorthand.examples)}
    return {"description": section.pop("description", ""), "anyOf": [line, section]}


def _rule(definitions: Mapping[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = definitions["Rule"]["anyOf"][1]
    return rule
