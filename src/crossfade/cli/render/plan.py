"""A plan as a table, with what it risks in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from crossfade.cli.render.plain import share, span
from crossfade.core.durations import FULL, format_duration
from crossfade.rollouts.plan import Exposure, Plan
from crossfade.rollouts.steps import Step

if TYPE_CHECKING:
    from crossfade.config.model import Deployment


def plan_view(plan: Plan, deployment: Deployment) -> RenderableType:
    """Show the steps, how long they take, and the worst case."""
    steps = Table.grid(padding=(0, 3, 0, 0))
    steps.add_column(justify="right", style="dim")
    steps.add_column()
    steps.add_column(style="dim")
    for number, step in enumerate(plan.steps, 1):
        steps.add_row(str(number), step.describe(), _limit(step, deployment, plan.instances))
    facts = Table.grid(padding=(0, 3, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    facts.add_row("takes", _takes(plan))
    if plan.previous is None:
        facts.add_row("if it fails", "there is nothing to go back to: this is the first release")
    for label, text in _worst_cases(plan.exposures(deployment.settings.judge)):
        facts.add_row(label, text)
    return Group(_heading(plan), Text(), Padding(steps, (0, 0, 0, 2)), Text(), Padding(facts, (0, 0, 0, 2)), Text())


def _heading(plan: Plan) -> Text:
    change = f"{plan.previous} → {plan.version}" if plan.previous is not None else plan.version
    text = Text(f"{plan.component} {change} in {plan.environment}", style="bold")
    strategy = "first release" if plan.previous is None else plan.strategy
    count = len(plan.steps)
    if plan.instances > 1:
        strategy += f", {plan.instances} instances"
    return text.append(f"   {strategy}, {count} step{'' if count == 1 else 's'}", style="not bold dim")


def _limit(step: Step, deployment: Deployment, instances: int) -> str:
    if step.kind == "start" and instances > 1:
        return f"{step.count} of {instances} instances" if step.count < instances else f"{instances} instances"
    if step.kind in ("ready", "grow"):
        return f"at most {format_duration(deployment.workload.ready.deadline)}"
    if step.kind in ("stop-old", "shrink"):
        return f"at most {format_duration(deployment.workload.drain.timeout + deployment.workload.drain.grace)}"
    return f"at most {format_duration(step.at_most)}" if step.at_most > step.seconds else ""


def _takes(plan: Plan) -> str:
    """Say how long it takes: what starting and draining need comes on top, and a person's time."""
    meant = sum(step.seconds for step in plan.steps)
    parts = []
    if meant:
        early = f"{format_duration(plan.shortest)} when it is proven early, " if plan.shortest < meant else ""
        parts.append(f"{early}{format_duration(meant)}{' otherwise' if early else ''}")
    if plan.longest > meant:
        parts.append(f"{format_duration(plan.longest)} at the longest, when evidence is missing")
    parts.append("starting and draining on top" if meant else "as long as starting and draining")
    if any(step.kind == "await" for step in plan.steps):
        parts.append("and as long as a person takes")
    return "; ".join(parts)


def _worst_cases(exposures: tuple[Exposure, ...]) -> list[tuple[str, str]]:
    if not exposures:
        return []
    first, last = exposures[0], exposures[-1]
    if first.share == last.share:
        return [("if it fails", _worst(first))]
    return [
        ("if it fails from its first request", _worst(first)),
        ("if it fails only under full traffic", _worst(last)),
    ]


def _worst(exposure: Exposure) -> str:
    which = "every request" if exposure.share == FULL else f"every request of {share(exposure.share)}"
    text = f"{which} for at most {span(exposure.seconds)} ({exposure.full_seconds:.3g} s of the whole traffic)"
    if exposure.stays:
        text += f"; but {share(exposure.stays)} of the traffic returns only as instances of the previous version start again"
    return text
