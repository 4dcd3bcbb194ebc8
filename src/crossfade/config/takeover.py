"""The `crossfade.yaml` for what runs elsewhere today: what was found is written down, what could not be taken over is said.

Nothing is guessed. `compose` and `deployment` read what is there and say of each thing what it becomes, a `Taken`, or in a
sentence why it stays where it is; here that becomes the text of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from crossfade.config.quantities import write_size
from crossfade.config.starter import RELEASING, word
from crossfade.core.limits import MOST_INSTANCES

_DIGEST = "@sha256:"


@dataclass
class Taken:
    """What one thing becomes: a component. `lines` are its further ones; `left` are sentences about what has no word in them."""

    name: str
    image: str
    tag: str
    port: int
    lines: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def command(self, words: Iterable[str]) -> None:
        """What it is started with, each word as `literal` has it."""
        self.lines.append(f"command: [{', '.join(words)}]")

    def environment(self, lines: Sequence[str]) -> None:
        """Its variables, each a line, and comments about others."""
        if lines:
            alone = all(line.startswith("#") for line in lines)
            self.lines += ["environment: {}" if alone else "environment:", *(f"  {line}" for line in lines)]

    def instances(self, count: object) -> None:
        """How many of it there are, where that is more than one."""
        if isinstance(count, int) and count > 1:
            self.lines.append(f"instances: {min(count, MOST_INSTANCES)}")
            if count > MOST_INSTANCES:
                self.left.append(f"{count} replicas (there are at most {MOST_INSTANCES} instances)")

    def resources(self, memory: int | None, cpus: str) -> None:
        """What it may use: bytes, and cores as they are written; None and an empty text where there is no limit."""
        parts = [] if memory is None else [f"memory: {write_size(memory)}"]
        parts += [f"cpus: {cpus}"] if cpus else []
        if parts:
            self.lines.append(f"resources: {{{', '.join(parts)}}}")

    def health(self, path: str, settings: Mapping[str, str], *, without: str) -> None:
        """How to tell that it works; `without` says why no path is known, where it is empty."""
        told = "" if path else f"   # {without}: name a path that answers 2xx when it works"
        self.lines += ["health:", f"  path: {word(path or '/')}{told}"]
        self.lines += [f"  {name}: {value}" for name, value in settings.items()]

    def component(self) -> list[str]:
        """Its lines below `components`."""
        return [
            f"  {self.name}:",
            *(f"    # Not taken over: {one_line(each)}" for each in self.left),
            f"    image: {quoted(self.image)}" + (f"   # {self.tag} runs now" if self.tag else ""),
            *(
                ["    # A digest is one version for ever; write NAME:{version} to release others."]
                if _DIGEST in self.image
                else []
            ),
            f"    port: {self.port}",
            *(f"    {line}" for line in self.lines),
        ]


def written(
    taken: Sequence[Taken],
    stays: Sequence[str],
    *,
    project: str,
    about: Sequence[str],
    staying: str,
    environment: Sequence[str],
) -> str:
    """The text of the file.

    `about` says where it comes from, and `staying` goes before what `stays`; `environment` are the lines that say where
    the components run and users come.
    """
    first = taken[0]
    head = [*about, f"Begin with what runs now: crossfade deploy {first.name}@{first.tag or 'VERSION'} production"]
    if stays:
        head += ["", staying, *(f"  {one_line(each)}" for each in stays)]
    lines = [*(f"# {line}".rstrip() for line in head), f"project: {project}", "", "components:"]
    for each in taken:
        lines += each.component()
    lines += ["", "environments:", "  production:", *(f"    {line}" for line in environment)]
    return "\n".join(lines) + "\n" + RELEASING


def documents(text: str) -> list[Mapping[str, Any]]:
    """The YAML documents in a text that have keys; ValueError says in one line why it is not YAML."""
    from ruamel.yaml import YAML  # noqa: PLC0415 - heavy, and seldom needed
    from ruamel.yaml.error import YAMLError  # noqa: PLC0415 - as above

    try:
        return [each for each in YAML(typ="safe", pure=True).load_all(text) if isinstance(each, Mapping)]
    except YAMLError as error:
        raise ValueError(one_line(error)[:200]) from error


def below(tree: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """What stands below a key, and the next below that; empty where nothing with keys does.

    >>> below({"deploy": {"resources": {"limits": 1}}}, "deploy", "resources"), below({"deploy": None}, "deploy", "resources")
    ({'limits': 1}, {})
    """
    for key in keys:
        found = tree.get(key)
        tree = found if isinstance(found, Mapping) else {}
    return tree


def versioned(image: str) -> tuple[str, str]:
    """The image with `{version}` for its tag, and the tag that it had; one with a digest stays as it is.

    >>> versioned("registry.example:5000/shop/api:1.4.2"), versioned("nginx")
    (('registry.example:5000/shop/api:{version}', '1.4.2'), ('nginx:{version}', 'latest'))

    A variable for the tag stands for what is used without it:

    >>> versioned("shop/api:${TAG:-1.0.0}"), versioned("shop/api:$TAG")
    (('shop/api:{version}', '1.0.0'), ('shop/api:{version}', ''))
    """
    if _DIGEST in image:
        return image, ""
    tagged = re.fullmatch(r"(?P<name>.*[^:/]):(?P<tag>[^/:{}]+|\$\{[^}]*\}|\$\w+)", image)
    if tagged is None:
        return f"{image}:{{version}}", "latest"
    usual = re.fullmatch(r"\$\{\w+:?-(.*)\}", tagged["tag"])
    tag = usual[1] if usual else "" if tagged["tag"].startswith("$") else tagged["tag"]
    return f"{tagged['name']}:{{version}}", tag


def literal(text: str) -> str:
    """Text for the file as it is, in which braces stand for placeholders.

    >>> literal("--format={json}"), literal("serve")
    ('"--format={{json}}"', 'serve')
    """
    return word(text.replace("{", "{{").replace("}", "}}"))


def quoted(text: str) -> str:
    """A text without quotes of its own, in quotes."""
    return f'"{text}"'


def one_line(text: object) -> str:
    """A text that may stand in a comment."""
    return " ".join(str(text).split())
