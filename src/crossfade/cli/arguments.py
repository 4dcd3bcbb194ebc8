"""Arguments and options that several commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Release = Annotated[
    str, typer.Argument(help="What to release: COMPONENT@VERSION, such as api@1.1.0.", metavar="RELEASE")
]
ComponentArgument = Annotated[
    str | None,
    typer.Argument(
        help="The component (or the id of a rollout); may be left out where only one fits.", metavar="COMPONENT"
    ),
]
EnvironmentArgument = Annotated[
    str | None, typer.Argument(help="The environment; may be left out where only one fits.", metavar="ENVIRONMENT")
]
Reason = Annotated[str, typer.Option("--reason", help="Why, for the record.", metavar="TEXT")]
