"""Where a command works: which file, which state, who asks, and which target is meant."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crossfade.cli.render.printer import Printer
from crossfade.core.errors import BadInputError
from crossfade.core.ids import is_id

if TYPE_CHECKING:
    from crossfade.config.load import LoadedProject
    from crossfade.config.model import Deployment
    from crossfade.engine.control import Control
    from crossfade.engine.views import View, Views

_STATE = ".crossfade"


@dataclass(frozen=True)
class Place:
    """One invocation's surroundings. Everything is looked up when it is first asked for.

    A broken crossfade.yaml never keeps a person from steering what runs already: only `loaded` and
    `deployment` read it; `control` needs the folder alone.
    """

    printer: Printer
    file: Path | None = None
    state_folder: Path | None = None

    @classmethod
    def of(cls, context: Any) -> Place:
        """The place that the options of this command line describe."""
        kept = context.meta
        return cls(
            printer=Printer(as_json=bool(kept.get("crossfade.as_json"))),
            file=kept.get("crossfade.file"),
            state_folder=kept.get("crossfade.state"),
        )

    @property
    def actor(self) -> str:
        """Who asks: CROSSFADE_ACTOR, or the user and machine."""
        return os.environ.get("CROSSFADE_ACTOR", "").strip() or f"{_user()}@{socket.gethostname()}"

    @cached_property
    def path(self) -> Path:
        """The crossfade.yaml that is meant."""
        from crossfade.config.load import find  # noqa: PLC0415 - heavy

        return self.file if self.file is not None else find(Path.cwd())

    @cached_property
    def loaded(self) -> LoadedProject:
        """The project; ConfigError holds every fault."""
        from crossfade.config.load import load  # noqa: PLC0415 - heavy

        return load(self.path)

    @cached_property
    def state(self) -> Path:
        """The folder of the run state."""
        if self.state_folder is not None:
            return self.state_folder.absolute()
        if self.file is None:
            here = Path.cwd()
            for folder in (here, *here.parents):
                if (folder / "crossfade.yaml").exists() or (folder / _STATE).is_dir():
                    return folder / _STATE
        return self.path.absolute().parent / _STATE

    @property
    def database_url(self) -> str | None:
        """The shared database, where there is one."""
        return os.environ.get("DATABASE_URL") or None

    @contextlib.contextmanager
    def views(self) -> Iterator[Views]:
        """What is recorded, for those who only look: open in a moment."""
        from crossfade.engine.views import Views  # noqa: PLC0415 - heavy

        views = Views.open(self.state, self.database_url)
        try:
            yield views
        finally:
            views.close()

    @contextlib.contextmanager
    def control(self) -> Iterator[Control]:
        """The engine's other side: ask, command, read."""
        from crossfade.engine.control import Control  # noqa: PLC0415 - heavy

        control = Control.open(self.state, self.database_url)
        try:
            yield control
        finally:
            control.close()

    def deployment(self, component: str, environment: str) -> Deployment:
        """What the file says about one target; the nearest name is told for an unknown one."""
        from crossfade.config.load import resolve  # noqa: PLC0415 - heavy

        return resolve(self.loaded, component, environment, self.state)

    def targets(self, views: Views) -> list[tuple[str, str]]:
        """Every component and environment, of the file (where it can be read) and of the record."""
        found: dict[tuple[str, str], None] = {}
        with contextlib.suppress(BadInputError):
            found.update(dict.fromkeys(self._targets_of_file()))
        for view in views.history(limit=1000):
            found.setdefault((view.deployment.component, view.deployment.environment))
        return list(found)

    def choose(self, views: Views, component: str | None, environment: str | None) -> tuple[str, str]:
        """The one target that is meant; what is left out must follow from the rest.

        A name that fits several targets is settled by the one that has a rollout under way.
        """
        fit = _fitting(self.targets(views) or self._targets_of_file(), component, environment)
        if len(fit) > 1:
            fit = [t for t in fit if _under_way(views.current(*t))] or fit
        return _only(fit)

    def choose_by_file(self, component: str | None, environment: str | None) -> tuple[str, str]:
        """As `choose`, by crossfade.yaml alone."""
        return _only(_fitting(self._targets_of_file(), component, environment))

    def _targets_of_file(self) -> list[tuple[str, str]]:
        project = self.loaded.project
        return [
            (c, e) for e in project.environments for c, each in project.components.items() if each.command or each.image
        ]

    def view(self, views: Views, component: str | None, environment: str | None) -> View:
        """The rollout that is meant, by its id or by its target."""
        if is_id(component, "ro"):
            return views.view(component)
        target = self.choose(views, component, environment)
        view = views.current(*target)
        if view is None:
            raise BadInputError(
                "rollout.none",
                f"there has been no rollout of {target[0]} in {target[1]}",
                next=f"crossfade deploy {target[0]}@VERSION {target[1]}",
            )
        return view


def _fitting(targets: list[tuple[str, str]], component: str | None, environment: str | None) -> list[tuple[str, str]]:
    fit = [t for t in targets if component in (None, t[0]) and environment in (None, t[1])]
    if not fit and component is not None and environment is None:
        fit = [t for t in targets if component == t[1]]  # `crossfade status production`
    if not fit:
        raise _unknown(component, environment, targets)
    return fit


def _only(fit: list[tuple[str, str]]) -> tuple[str, str]:
    if len(fit) > 1:
        names = ", ".join(f"`{c} {e}`" for c, e in fit)
        raise BadInputError("target.ambiguous", "more than one target could be meant", next=f"name one of {names}")
    return fit[0]


def _under_way(view: View | None) -> bool:
    return view is not None and not view.rollout.finished


def _unknown(component: str | None, environment: str | None, targets: list[tuple[str, str]]) -> BadInputError:
    from crossfade.config.faults import suggest  # noqa: PLC0415 - only for an error

    components = list(dict.fromkeys(c for c, _ in targets))
    environments = list(dict.fromkeys(e for _, e in targets))
    if component is not None and component not in components:
        known = components if environment is not None else components + environments
        return BadInputError("target.unknown", f"there is no component {component!r}", next=suggest(component, known))
    if environment is not None and environment not in environments:
        what = f"there is no environment {environment!r}"
        return BadInputError("target.unknown", what, next=suggest(environment, environments))
    what = f"{component} is not in {environment}"
    return BadInputError("target.unknown", what, next="see `crossfade status`")


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, as in some containers
        return str(os.getuid())
