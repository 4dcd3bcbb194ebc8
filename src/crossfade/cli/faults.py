"""Whatever ends a command early, as something that a person can act on. Nobody ever sees a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from typer import Abort, BadParameter, Exit, TyperException

from crossfade import __version__
from crossfade.core.errors import BadInputError, CrossfadeError, ExitCode

UsageError: Any = BadParameter.__mro__[1]
"""A command line that cannot be read (the library names only its children publicly)."""


class InternalError(CrossfadeError):
    """A fault of Crossfade itself."""


def guarded(arguments: Sequence[str]) -> int:
    """Carry out a command line; every error is printed and becomes its exit code."""
    from crossfade.cli.render.printer import Printer  # noqa: PLC0415 - within the guard's reach

    printer = Printer(as_json="--json" in arguments)
    try:
        code = _call(arguments)
    except CrossfadeError as error:
        printer.error(error)
        code = error.exit_code
    except (KeyboardInterrupt, Abort):  # the second one is Ctrl-C at a question
        printer.note("interrupted")
        code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        printer.abandon()
        code = ExitCode.DONE
    except UnicodeEncodeError as error:
        fault = _no_text(arguments) or _own_fault(error, arguments)
        printer.error(fault)
        code = fault.exit_code
    except Exception as error:  # noqa: BLE001 - the last line of defence: nobody sees a traceback
        printer.error(_own_fault(error, arguments))
        code = ExitCode.INTERNAL
    printer.flush()
    return int(code)


def _no_text(arguments: Sequence[str]) -> CrossfadeError | None:
    """What to say of an argument that is no text, and that nothing could be named by."""
    strange = next((each for each in arguments if any("\ud800" <= sign <= "\udfff" for sign in each)), None)
    if strange is None:
        return None
    what = f"the argument {strange!a} is no text"
    return BadInputError("usage.text", what, where="crossfade", next="write it in UTF-8")


def _call(arguments: Sequence[str]) -> int:
    from crossfade.cli.app import root  # noqa: PLC0415 - within the guard's reach

    try:
        result = root().main(args=list(arguments), prog_name="crossfade", standalone_mode=False)
    except Exit as end:
        return end.exit_code
    except TyperException as error:
        return _usage(error)
    return result if isinstance(result, int) else ExitCode.DONE


def _usage(error: Any) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "crossfade"
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stdout.write(error.format_message() + "\n")
        return ExitCode.DONE
    if not isinstance(error, UsageError):
        raise BadInputError("usage.file", error.format_message()) from None
    raise BadInputError(
        "usage.arguments",
        _sentence(error.format_message()),
        where=path,
        next=_suggestion(error, context) or f"see `{path} --help`",
    ) from None


def _sentence(text: str) -> str:
    """The library's message in the house's form: no capital, no full stop, no suggestion."""
    first = text.partition(" Did you mean ")[0].partition(" (Possible options")[0].strip().rstrip(".")
    return first[:1].lower() + first[1:]


def _suggestion(error: Any, context: Any) -> str:
    from crossfade.cli.app import ENTRIES  # noqa: PLC0415 - within the guard's reach
    from crossfade.config.faults import nearest  # noqa: PLC0415 - only for an error

    if options := getattr(error, "possibilities", None):
        return f"did you mean `{nearest(error.option_name, options) or options[0]}`?"
    command = error.message.partition("No such command '")[2].partition("'")[0]
    known = getattr(context.command, "commands", ENTRIES) if context is not None else ENTRIES
    match = nearest(command, known) if command else None
    return f"did you mean `{context.command_path} {match}`?" if match else ""


def _own_fault(error: BaseException, arguments: Sequence[str]) -> InternalError:
    log = _write_log(error, arguments)
    what = f"this is a fault of Crossfade: {type(error).__name__}"
    return InternalError(
        "internal.fault",
        what,
        where=str(log) if log else f"crossfade {__version__}",
        next="what was recorded stays; run the command again, and report the fault with that file",
    )


def _write_log(error: BaseException, arguments: Sequence[str]) -> Path | None:
    """Where the traceback was written: in the project's state, else in the system's temporary folder."""
    from crossfade.config.faults import mask  # noqa: PLC0415 - only for an error

    name = f"fault-{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.getpid()}.log"
    text = f"crossfade {__version__}\npython {sys.version}\ncommand {mask(' '.join(arguments))}\n\n"
    text += mask("".join(traceback.format_exception(error)))
    for folder in (Path.cwd() / ".crossfade" if _has_project() else None, Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError, UnicodeError):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / name
                path.write_text(text, encoding="utf-8", errors="replace")
                path.chmod(0o600)
                return path
    return None


def _has_project() -> bool:
    with contextlib.suppress(OSError):
        return (Path.cwd() / "crossfade.yaml").exists() or (Path.cwd() / ".crossfade").is_dir()
    return False
