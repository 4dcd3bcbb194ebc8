"""Whether what is said about sources, builds and registries fits together. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from crossfade.config.faults import Path, suggest
from crossfade.config.model import Component, Project
from crossfade.config.remarks import Remark


def publishing(project: Project) -> Iterator[Remark]:
    """Everything about what is built and published that does not fit together."""
    running = [name for name, component in project.components.items() if component.command]
    if running and not project.environments:
        yield Remark(
            "config.no-environment",
            (("components", running[0]),),
            f"{running[0]} runs, but there is no environment for it",
            "add `environments:` — where releases run, by name, such as `production:`",
        )
    for name, component in project.components.items():
        at: Path = ("components", name)
        if not (component.command or component.image or component.source or component.build or component.publish):
            yield Remark(
                "config.idle-component",
                (at,),
                f"nothing can be done with {name}: it neither runs nor has a source",
                "give it the `command` or the `image` that runs it, or the `source` that is its folder",
            )
        yield from _names(project, name, component)
        if component.publish and component.source is None:
            yield Remark(
                "config.publish-source",
                ((*at, "publish"),),
                f"{name} is published, but nobody knows which version: it has no `source`",
                "name its folder, such as `source: packages/core`",
            )
        if component.publish and component.source is not None and component.source.private:
            yield Remark(
                "config.publish-private",
                ((*at, "publish"), (*at, "source", "private")),
                f"{name} is private, and private components are never published",
                "take `publish` or `private` away",
            )
    for index, each in enumerate(project.versioning.maps):
        if each.of not in project.components:
            yield _unknown(("versioning", "maps", index, "of"), "component", each.of, tuple(project.components))


def _names(project: Project, name: str, component: Component) -> Iterator[Remark]:
    """The registries and components that are named, and are not there."""
    at: Path = ("components", name)
    for index, target in enumerate(component.publish):
        if target.to not in project.registries:
            known = tuple(project.registries)
            yield _unknown((*at, "publish", index, "to"), "registry", target.to, known)
    if component.source is None:
        return
    others = tuple(each for each in project.components if each != name)
    for index, embedded in enumerate(component.source.embeds):
        if embedded not in others:
            yield _unknown((*at, "source", "embeds", index), "other component", embedded, others)
    for needed in component.source.needs:
        if needed not in others:
            yield _unknown((*at, "source", "needs", needed), "other component", needed, others)


def _unknown(path: Path, kind: str, name: str, known: tuple[str, ...]) -> Remark:
    hint = suggest(name, known) if known else "there are none: write one below `registries`"
    return Remark(f"config.unknown-{kind.rsplit(maxsplit=1)[-1]}", (path,), f"there is no {kind} {name!r}", hint)
