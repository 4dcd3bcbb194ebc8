"""Writes the reference pages that are generated from the code; `--check` only says which are out of date.

Every generated file is one entry of `PAGES`: its path and the function that returns its text. What the
pages say stands in the code alone, so that it cannot differ from what the program does.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from crossfade.cli.reference import cli_text
from crossfade.config.reference import reference_text
from crossfade.config.schema import schema_text

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "crossfade"
CODE = re.compile(r"[a-z]+(?:-[a-z]+)*\.[a-z0-9]+(?:-[a-z0-9]+)*")
NOTE = "<!-- Generated from the code by `make reference`; edit the code instead. -->"


@dataclass
class ErrorCode:
    """What the code says about one error code, gathered from every place that raises it."""

    name: str
    says: dict[str, None] = field(default_factory=dict)
    next: dict[str, None] = field(default_factory=dict)
    exits: set[str] = field(default_factory=set)


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every module of the package, parsed, in the order of their paths."""
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text(), str(path))


def exit_codes_by_class() -> dict[str, str]:
    """The name of the exit code of every error class: its own, or its nearest base's."""
    own: dict[str, str] = {}
    bases: dict[str, list[str]] = {}
    for _, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            bases[node.name] = [last_name(base) for base in node.bases]
            for statement in node.body:
                target = assigned_name(statement)
                if target == "exit_code" and isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value:
                    own[node.name] = last_name(statement.value)

    def resolve(name: str) -> str | None:
        if name in own:
            return own[name]
        return next((found for base in bases.get(name, ()) if (found := resolve(base))), None)

    return {name: found for name in bases if (found := resolve(name))}


def error_codes() -> dict[str, ErrorCode]:
    """Every error code of the package, in alphabetical order."""
    exits = exit_codes_by_class()
    codes: dict[str, ErrorCode] = {}
    for path, tree in modules():
        in_config = path.is_relative_to(SOURCE / "config")
        for call, names in calls(tree):
            called = last_name(call.func)
            fault = called.lower().endswith("fault") or (in_config and called not in exits)
            if called not in exits and not fault:
                continue
            for position, argument in enumerate(call.args):
                found = codes_in(argument) or names.get(last_name(argument), [])
                for name in found:
                    code = codes.setdefault(name, ErrorCode(name))
                    add_call(code, call, position, "BAD_INPUT" if fault else exits[called])
                if found:
                    break
    areas = {name.partition(".")[0] for name in codes}
    for _, tree in modules():
        for row in (node for node in ast.walk(tree) if isinstance(node, ast.Tuple)):
            add_row(codes, row, areas)
    return dict(sorted(codes.items()))


def add_row(codes: dict[str, ErrorCode], row: ast.Tuple, areas: set[str]) -> None:
    """Take over `(code, what, next)`, or a row of a table that ends with code and next."""
    for position, element in enumerate(row.elts[:-1]):
        name = code_in(element)
        words = [wording(other) for other in row.elts[position + 1 :]]
        if name.partition(".")[0] in areas and any(words):
            code = codes.setdefault(name, ErrorCode(name))
            says, hint = (words[0], "".join(words[1:2])) if position == 0 else ("", words[0])
            code.says |= {says: None} if says else {}
            code.next |= {hint: None} if hint else {}
            code.exits = code.exits or {"BAD_INPUT"}


def calls(tree: ast.Module) -> Iterator[tuple[ast.Call, dict[str, list[str]]]]:
    """Every call of a module, with the names that hold an error code where it stands."""
    shared = codes_by_name(tree.body)
    scopes = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    seen: set[ast.Call] = set()
    for scope in [*scopes, tree]:
        own = codes_by_name(node for node in ast.walk(scope) if isinstance(node, ast.stmt)) if scope != tree else {}
        for node in ast.walk(scope):
            if isinstance(node, ast.Call) and node not in seen:
                seen.add(node)
                yield node, {**shared, **own}


def codes_by_name(statements: Iterable[ast.stmt]) -> dict[str, list[str]]:
    """The error codes that simple assignments give to names."""
    found: dict[str, list[str]] = {}
    for statement in statements:
        value = statement.value if isinstance(statement, ast.Assign | ast.AnnAssign) else None
        if value and (codes := codes_in(value)):
            found.setdefault(assigned_name(statement), []).extend(codes)
    return found


def codes_in(node: ast.expr) -> list[str]:
    """The error codes that an expression may be: one, or those of the branches of `a if … else b`."""
    branches = [node.body, node.orelse] if isinstance(node, ast.IfExp) else [node]
    return [name for branch in branches if (name := code_in(branch))]


def code_in(node: ast.expr) -> str:
    """The error code that `node` is; empty when it is anything else."""
    text = node.value if isinstance(node, ast.Constant) else None
    return text if isinstance(text, str) and CODE.fullmatch(text) else ""


def add_call(code: ErrorCode, call: ast.Call, position: int, exit_name: str) -> None:
    """Take over what one call says: the first text after the code, what to do next, the exit code."""
    told = [argument for argument in call.args[position + 1 :] if not isinstance(argument, ast.Tuple)]
    texts = [wording(argument) for argument in told if wording(argument) or last_name(argument) in {"what", "text"}]
    keywords = {keyword.arg: wording(keyword.value) for keyword in call.keywords}
    says = texts[0] if texts else keywords.get("what", "")
    if says:
        code.says[says] = None
    hint = keywords.get("next") or keywords.get("hint") or (texts[1] if len(texts) > 1 else "")
    if hint:
        code.next[hint] = None
    code.exits.add(exit_name)


def wording(node: ast.expr) -> str:
    """A text as it stands in the code, with `‹name›` for what is filled in; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return wording(node.left) + wording(node.right)
    if not isinstance(node, ast.JoinedStr):
        return ""
    parts = []
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            name = last_name(part.value)
            parts.append(f"‹{name.lower().replace('_', ' ').strip()}›" if name else "…")
        elif isinstance(part, ast.Constant):
            parts.append(str(part.value))
    return "".join(parts)


def last_name(node: ast.expr) -> str:
    """The last name of an expression: `ExitCode.DONE` gives `DONE`; empty where there is none."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def assigned_name(statement: ast.stmt) -> str:
    """The name that a simple assignment sets; empty for any other statement."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        return last_name(statement.targets[0])
    return last_name(statement.target) if isinstance(statement, ast.AnnAssign) else ""


def exit_codes() -> dict[str, tuple[int, str]]:
    """Name → number and meaning of every exit code: the docstring that follows each member."""
    tree = ast.parse((SOURCE / "core" / "errors.py").read_text())
    enum = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "ExitCode")
    members: dict[str, tuple[int, str]] = {}
    for statement, following in zip(enum.body, enum.body[1:], strict=False):
        name = assigned_name(statement)
        if name and isinstance(statement, ast.Assign):
            text = ast.literal_eval(following.value) if isinstance(following, ast.Expr) else ""
            members[name] = (ast.literal_eval(statement.value), " ".join(str(text).split()))
    return members


def errors_page() -> str:
    """`docs/reference/errors.md`."""
    numbers = exit_codes()
    lines = [
        "# Errors",
        "",
        NOTE,
        "",
        "Every error has a code that does not change between releases, says what happened, where, and what to do",
        "next. With `--json` it is the object `{code, what, where, next, retry}`. Words in ‹brackets› are filled in.",
        "The number is the [exit code](exit-codes.md) of a command that ends with this error.",
    ]
    area = ""
    for code in error_codes().values():
        first = code.name.partition(".")[0]
        if first != area:
            area = first
            lines += ["", f"## {area}"]
        ends = ", ".join(str(numbers[name][0]) for name in sorted(code.exits))
        lines += ["", f"### `{code.name}`", "", f"Exit code {ends}.", ""]
        lines += [f"- {one_line(text)}" for text in code.says]
        lines += [f"- Next: {one_line(text)}" for text in code.next]
        if lines[-1] == "":
            lines.pop()
    return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """`text` on one line, safe inside Markdown; what stands in backticks stays as it is."""
    parts = " ".join(text.split()).split("`")
    for plain in range(0, len(parts), 2):
        parts[plain] = parts[plain].replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_")
    return "`".join(parts)


def exit_codes_page() -> str:
    """`docs/reference/exit-codes.md`."""
    lines = [
        "# Exit codes",
        "",
        NOTE,
        "",
        "Every `crossfade` command ends with one of these numbers, so that a script or a pipeline can act on it.",
        "",
        "| Code | Name | Meaning |",
        "| ---: | --- | --- |",
    ]
    for name, (number, meaning) in exit_codes().items():
        lines.append(f"| {number} | {name.lower().replace('_', ' ')} | {meaning} |")
    lines += ["", "What an error means in detail stands in [errors](errors.md)."]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/reference/cli.md": cli_text,
    "docs/reference/configuration.md": reference_text,
    "docs/reference/crossfade.schema.json": schema_text,
    "docs/reference/errors.md": errors_page,
    "docs/reference/exit-codes.md": exit_codes_page,
}


def out_of_date() -> list[str]:
    """The generated files whose text differs from what the code says now."""
    return [
        page for page, write in PAGES.items() if not (ROOT / page).is_file() or (ROOT / page).read_text() != write()
    ]


def main() -> int:
    """Write the pages, or with `--check` only compare them; 1 when something is out of date."""
    parser = argparse.ArgumentParser(description="Write the reference pages that are generated from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    check = parser.parse_args().check
    stale = out_of_date()
    for page in stale:
        if check:
            sys.stderr.write(f"{page} is out of date; next: make reference\n")
        else:
            (ROOT / page).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / page).write_text(PAGES[page]())
            sys.stdout.write(f"wrote {page}\n")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
