"""Release notes: what a plan and its changesets tell, for people, through a template that a team can replace.

Gathering is pure (`notes_of`, `deployment_of`); `render` alone knows Jinja. A template of one's own may begin with
`{% extends "default" %}` and replace single blocks: breaking, features, changes, fixes, security, migrations, components,
deployment. It runs in a sandbox, and a name that does not exist is an error and never an empty place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from crossfade.config.faults import suggest
from crossfade.core.durations import format_duration
from crossfade.core.errors import BadInputError
from crossfade.versioning.majors import guide_path, majors
from crossfade.versioning.sections import Entry, Section, by_section, entries_of
from crossfade.versioning.values import Bump, PlannedRelease, ReleasePlan

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

    from crossfade.config.model import BlueGreen, Canary, Direct, Judge, Rule

Status = Literal["New", "Updated", "Patched", "Unchanged"]
_DEFAULT = Path(__file__).parent / "templates" / "release-notes.md.j2"


class Told(NamedTuple):
    """One thing that changed, in Markdown, and the components that it changed in."""

    components: tuple[str, ...]
    text: str


class ComponentRow(NamedTuple):
    """One component in the table: its version now and before (None: never released)."""

    name: str
    version: str
    before: str | None
    status: Status


class Migration(NamedTuple):
    """The guide for those who come from an older major."""

    component: str
    old: str
    new: str
    path: str
    """Of the guide, relative to the top of the repository."""
    text: str
    """The guide itself, for a template that takes it over whole."""


class Deployment(NamedTuple):
    """How the release gets to its users in one environment, as sentences."""

    environment: str
    strategy: str
    steps: tuple[str, ...]
    takes: str
    way_back: str


@dataclass(frozen=True, slots=True)
class ReleaseNotes:
    """Everything that a template may say; its fields are the names that a template knows."""

    title: str
    date: str
    components: tuple[ComponentRow, ...]
    breaking: tuple[Told, ...] = ()
    features: tuple[Told, ...] = ()
    changes: tuple[Told, ...] = ()
    deprecated: tuple[Told, ...] = ()
    removed: tuple[Told, ...] = ()
    fixes: tuple[Told, ...] = ()
    security: tuple[Told, ...] = ()
    deployment_notes: tuple[Told, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    migrations: tuple[Migration, ...] = ()


NAMES = tuple(field.name for field in fields(ReleaseNotes))
"""What a template knows."""


def notes_of(
    plan: ReleasePlan,
    versions: Mapping[str, str],
    before: Mapping[str, str],
    *,
    title: str,
    date: str,
    deployments: Sequence[Deployment] = (),
    migrations: Sequence[Migration] = (),
) -> ReleaseNotes:
    """What a plan tells. Things that change in several components are told once.

    `versions` are those of all components as they stand before the plan; `before` holds the newest version that was
    really released of each, and no entry for what never was. `date` is `2025-11-19`.
    """
    told: dict[Entry, list[str]] = {}
    for changeset in plan.changesets:
        for change in (change for change in changeset.releases if change.bump is not Bump.NONE):
            for entry in entries_of(changeset.summary, change.bump):
                told.setdefault(entry, []).append(change.name)
    calm = by_section([entry for entry in told if not entry.breaking])

    def of(section: Section) -> tuple[Told, ...]:
        return tuple(Told(tuple(told[entry]), entry.text) for entry in calm.get(section, ()))

    return ReleaseNotes(
        title=title,
        date=date,
        components=component_rows(plan, versions, before),
        breaking=tuple(Told(tuple(names), entry.text) for entry, names in told.items() if entry.breaking),
        features=of("Added"),
        changes=of("Changed"),
        deprecated=of("Deprecated"),
        removed=of("Removed"),
        fixes=of("Fixed"),
        security=of("Security"),
        deployment_notes=of("Deployment Notes"),
        deployments=tuple(deployments),
        migrations=tuple(migrations),
    )


def component_rows(
    plan: ReleasePlan, versions: Mapping[str, str], before: Mapping[str, str]
) -> tuple[ComponentRow, ...]:
    """Every component with its version: what is new first, then updated, patched, unchanged; by name within each.

    >>> from crossfade.versioning.values import PlannedRelease
    >>> plan = ReleasePlan(releases=(PlannedRelease("api", "1.0.0", "1.1.0", Bump.MINOR),))
    >>> [(row.name, row.status) for row in component_rows(plan, {"web": "2.0.0", "api": "1.0.0"}, {"api": "1.0.0", "web": "2.0.0"})]
    [('api', 'Updated'), ('web', 'Unchanged')]
    """
    planned = {release.name: release for release in plan.releases if release.bump is not Bump.NONE}
    rows = []
    for name in {**versions, **planned}:
        release, old = planned.get(name), before.get(name)
        if release is None:
            rows.append(ComponentRow(name, versions[name], old, "Unchanged"))
            continue
        status: Status = "New" if old is None else "Patched" if release.bump is Bump.PATCH else "Updated"
        rows.append(ComponentRow(name, release.new, old, status))
    order = ("New", "Updated", "Patched", "Unchanged")
    return tuple(sorted(rows, key=lambda row: (order.index(row.status), row.name)))


def migrations_of(releases: Iterable[PlannedRelease], guides: Mapping[str, str], folder: str) -> tuple[Migration, ...]:
    """The guides of the majors among `releases`; `guides` maps paths to texts, as `majors.read_guides` gives them."""
    found = ((release, guide_path(folder, release)) for release in majors(releases))
    return tuple(Migration(each.name, each.old, each.new, path, guides[path]) for each, path in found if path in guides)


def deployment_of(
    environment: str,
    strategy: Direct | BlueGreen | Canary,
    *,
    judge: Judge | None = None,
    rules: Sequence[Rule] = (),
    first: bool = False,
) -> Deployment:
    """The strategy of an environment as sentences: the steps that a rollout will really take, and what takes it back.

    `judge` is None where nothing compares the two versions; `first` says that there is no older version there.
    """
    from crossfade.rollouts.plan import compile_plan  # noqa: PLC0415 - brings in all of the configuration's model

    plan = compile_plan(strategy, "", environment, "", previous=None if first else "")
    meant = sum(step.seconds for step in plan.steps)
    takes = (
        f"{format_duration(meant)}, and what starting and draining need"
        if meant
        else "as long as starting and draining need"
    )
    if any(step.kind == "await" for step in plan.steps):
        takes += ", and as long as a person takes"
    steps = tuple(f"{text[0].upper()}{text[1:]}." for text in (step.describe() for step in plan.steps))
    return Deployment(
        environment, "first release" if first else strategy.kind, steps, takes, _way_back(judge, rules, first)
    )


def render(notes: ReleaseNotes, template: Path | None = None) -> str:
    """The notes as text, by the template in that file, else by our own.

    BadInputError (`notes.bad-template`, `notes.unreadable-template`) names the template's file and line.
    """
    import jinja2  # noqa: PLC0415 - most commands render no template

    path = template if template is not None else _DEFAULT
    environment = _environment(path)
    try:
        values = {name: getattr(notes, name) for name in NAMES}
        return environment.get_template("default" if template is None else path.name).render(values)
    except jinja2.TemplateSyntaxError as error:
        raise _bad_template(f"{error.filename or path}:{error.lineno}", str(error.message)) from None
    except jinja2.TemplateNotFound as error:
        raise _bad_template(
            _line(error, path), f"there is no template {error.name!r} beside it", 'our own is called "default"'
        ) from None
    except jinja2.UndefinedError as error:
        unknown = str(error.message).split("'")[1:2]
        hint = suggest(unknown[0], NAMES) if unknown and str(error.message).endswith("is undefined") else ""
        raise _bad_template(_line(error, path), str(error.message), hint) from None
    except jinja2.TemplateError as error:
        raise _bad_template(_line(error, path), str(error.message or error)) from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:
        raise _bad_template(_line(error, path), f"{type(error).__name__}: {error}") from None


def _way_back(judge: Judge | None, rules: Sequence[Rule], first: bool) -> str:  # noqa: FBT001 - as its caller has it
    if first:
        return "There is no older version to go back to."
    back = [f"{str(rule).partition(' -> ')[0]}" for rule in rules if rule.then == "rollback"]
    if judge is not None and judge.enabled:
        back.insert(0, "the new version is proven worse than the old one")
    if not back:
        return "It goes back when a person says so (`crossfade abort`)."
    return (
        f"It goes back by itself when {' or '.join(back)}; a person can take it back at any time (`crossfade abort`)."
    )


def _environment(path: Path) -> SandboxedEnvironment:
    from jinja2 import ChoiceLoader, FunctionLoader, StrictUndefined  # noqa: PLC0415 - as in render
    from jinja2.sandbox import ImmutableSandboxedEnvironment  # noqa: PLC0415 - as in render

    def load(name: str) -> tuple[str, str, None] | None:
        """Our own template, and those beside the team's own; no other file of the machine."""
        if name == "default":
            return _DEFAULT.read_text(encoding="utf-8"), str(_DEFAULT), None
        wanted = path.parent / name
        if "/" in name or "\\" in name or not (wanted.is_file() or name == path.name):
            return None
        try:
            return wanted.read_text(encoding="utf-8"), str(wanted), None
        except (OSError, UnicodeDecodeError) as error:
            raise BadInputError(
                "notes.unreadable-template",
                f"the template cannot be read: {error}",
                where=str(wanted),
                next="correct `versioning.notes` in crossfade.yaml, or save the template as UTF-8 text",
            ) from None

    environment = ImmutableSandboxedEnvironment(
        loader=ChoiceLoader([FunctionLoader(load)]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # what comes out is Markdown, and not HTML
    )
    environment.filters["cell"] = _cell
    return environment


def _cell(text: str) -> str:
    """A text inside a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def _line(error: BaseException, path: Path) -> str:
    """`FILE:LINE` of the innermost place in a template that an error came through."""
    at, traceback = str(path), error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if Path(file).parent in (path.parent, _DEFAULT.parent) and not file.endswith(".py"):
            at = f"{file}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return at


def _bad_template(where: str, what: str, hint: str = "") -> BadInputError:
    return BadInputError(
        "notes.bad-template",
        f"the template for release notes has a fault: {what}",
        where=where,
        next=hint or "correct the template",
    )
