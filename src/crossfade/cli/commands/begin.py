"""Beginning: the demo, a first file, and whether the file is right."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from crossfade.cli.place import Place
from crossfade.core.errors import BadInputError, ExitCode


def demo(
    ctx: typer.Context,
    *,
    seed: Annotated[int, typer.Option("--seed", help="Fixes the load.", min=0)] = 1,
    error_rate: Annotated[
        str, typer.Option("--error-rate", help="Share of its requests that the bad release fails.", metavar="PERCENT")
    ] = "5%",
    rps: Annotated[float, typer.Option("--rps", help="Requests a second.", min=1, max=5000)] = 200.0,
    latency_factor: Annotated[
        float, typer.Option("--latency-factor", help="How much slower the bad release is.", min=1, max=100)
    ] = 1.0,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the demo's folder, to look at its record.")] = False,
) -> int:
    """Watch a bad release go back by itself and a good one reach 100 %.

    Real parts on this machine: a proxy, a small web application as processes, and real load. It takes
    up to four minutes, and leaves nothing running.
    """
    from crossfade.core.durations import parse_ratio  # noqa: PLC0415 - after the door

    try:
        rate = parse_ratio(error_rate)
    except ValueError as error:
        raise BadInputError("usage.error-rate", str(error), where="crossfade demo --error-rate") from None
    if not 0 <= rate <= 1:
        raise BadInputError(
            "usage.error-rate", f"{error_rate} is more than every request", where="crossfade demo --error-rate"
        )
    from crossfade.demo.story import run  # noqa: PLC0415 - heavy

    as_json = Place.of(ctx).printer.as_json
    return run(seed=seed, error_rate=rate, rps=rps, latency_factor=latency_factor, as_json=as_json, keep=keep)


def init(
    ctx: typer.Context,
    *,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the component; else the folder's.", metavar="NAME")
    ] = None,
    command: Annotated[
        str | None,
        typer.Option(
            "--command", help="How one instance is started; {port} and {version} are replaced.", metavar="COMMAND"
        ),
    ] = None,
    health: Annotated[str, typer.Option("--health", help="HTTP path that tells whether it works.")] = "/healthz",
    listen: Annotated[str, typer.Option("--listen", help="Address that users reach.")] = "127.0.0.1:8080",
    compose: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A Compose file, or Deployments of Kubernetes as YAML, to take over.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Write a crossfade.yaml to start from.

    An existing file is never overwritten. From a Compose file it takes over images, ports, variables, health checks,
    limits and networks, from what `kubectl get deployment NAME -o yaml` prints also probes and replicas; comments say
    what it could not.
    """
    from crossfade.config.load import NAME, load_text  # noqa: PLC0415 - heavy
    from crossfade.config.starter import starter  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    path = place.file if place.file is not None else Path.cwd() / NAME
    if compose is not None:
        text = _taken_over(compose)
    else:
        words = ("python", "-m", "http.server", "{port}") if command is None else _words(command)
        text = starter(name or path.absolute().parent.name or "app", words, health=health, listen=listen)
    load_text(text, path)  # what is written has no faults
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise BadInputError(
            "init.exists",
            f"{path.name} is here already",
            where=str(path),
            next="nothing was changed; edit it, or remove it first",
        ) from None
    except OSError as error:
        raise BadInputError("init.unwritable", f"{path} cannot be written: {error.strerror}", where=str(path)) from None
    if place.printer.as_json:
        place.printer.document({"file": str(path)})
    place.printer.line(f"✓ wrote {path}")
    place.printer.line("  next:  edit it, then run `crossfade check`")


def _taken_over(compose: Path) -> str:
    from crossfade.config import compose as services  # noqa: PLC0415 - heavy
    from crossfade.config import deployment  # noqa: PLC0415 - as above

    try:
        text = compose.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is not text"
        raise BadInputError(
            "init.compose-unreadable", f"{compose} cannot be read: {said}", where=str(compose)
        ) from None
    try:
        takeover = deployment.takeover if deployment.is_deployment(text) else services.takeover
        return takeover(text, folder=compose.absolute().parent.name or "app")
    except BadInputError as error:
        raise BadInputError(error.code, error.what, where=str(compose), next=error.next) from None


def _words(command: str) -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(command))
    except ValueError as error:
        raise BadInputError("init.command", f"the command cannot be read: {error}", where=repr(command)) from None
    if not words:
        raise BadInputError("init.command", "the command is empty", next='such as --command "serve --port {port}"')
    return words


def check(ctx: typer.Context) -> int:
    """Tell every fault of crossfade.yaml at once.

    Exits with 2 when there is one; warnings alone exit with 0.
    """
    from crossfade.config.faults import ConfigError  # noqa: PLC0415 - heavy

    place = Place.of(ctx)
    try:
        loaded = place.loaded
    except ConfigError as error:
        if not place.printer.as_json:
            raise
        _check_document(place, error.file, [fault.as_json() for fault in error.faults], [])
        return ExitCode.BAD_INPUT
    project, warnings = loaded.project, loaded.warnings
    if place.printer.as_json:
        _check_document(place, str(loaded.path), [], [warning.as_json() for warning in warnings])
        return ExitCode.DONE
    for warning in warnings:
        place.printer.line(f"warning: {warning}\n")
    components, environments = ", ".join(project.components), ", ".join(project.environments) or "none"
    place.printer.line(f"✓ {loaded.path} has no faults" + (f", and {_count(len(warnings))}" if warnings else ""))
    place.printer.line(f"  components    {components}")
    place.printer.line(f"  environments  {environments}")
    return ExitCode.DONE


def _count(warnings: int) -> str:
    return f"{warnings} warning{'' if warnings == 1 else 's'}"


def _check_document(place: Place, file: str, faults: list[Any], warnings: list[Any]) -> None:
    place.printer.document({"file": file, "ok": not faults, "faults": faults, "warnings": warnings})


def schema() -> None:
    """Print the JSON Schema of crossfade.yaml, for editors.

    Editors with a YAML language server read it after this line at the top of the file:
    `# yaml-language-server: $schema=crossfade.schema.json`
    """
    from crossfade.cli.render.printer import Printer  # noqa: PLC0415 - after the door
    from crossfade.config.schema import schema_text  # noqa: PLC0415 - heavy

    Printer(as_json=True).raw(schema_text().rstrip("\n"))
