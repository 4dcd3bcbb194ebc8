"""Release notes as text, through a Jinja template that a team can replace.

A template of one's own may begin with `{% extends "default" %}` and replace single blocks: breaking, features, changes,
fixes, security, migrations, components, deployment. It runs in a sandbox, and a name that does not exist is an error and
never an empty place.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from crossfade.config.faults import suggest
from crossfade.core.errors import BadInputError
from crossfade.versioning.notes import NAMES, ReleaseNotes

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

_DEFAULT = Path(__file__).parent / "templates" / "release-notes.md.j2"


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
