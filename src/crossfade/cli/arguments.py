"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Releases = Annotated[
    list[str],
    typer.Argument(
        help="What to release, COMPONENT@VERSION, such as api@1.1.0; several go together, as a set. Then the environment,"
        " which may be left out where only one fits.",
        metavar="RELEASE... [ENVIRONMENT]",
    ),
]
ComponentArgument = Annotated[
    str | None,
    typer.Argument(
        help="The component (or the id of a rollout, or of a release set); may be left out where only one fits.",
        metavar="COMPONENT",
    ),
]
EnvironmentArgument = Annotated[
    str | None, typer.Argument(help="The environment; may be left out where only one fits.", metavar="ENVIRONMENT")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.", metavar="TEXT")]
