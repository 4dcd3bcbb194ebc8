"""The command line's own manners: fast to answer, helpful when it is mistyped, silent when nobody listens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from crossfade import __version__
from crossfade.analysis import backtest as replay
from crossfade.cli import main as door
from crossfade.cli.app import COMMANDS, ENTRIES, command_of
from crossfade.cli.faults import guarded
from crossfade.core.errors import ExitCode
from patience import PATIENCE


def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crossfade.cli.main", *arguments],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def loaded(*arguments: str) -> set[str]:
    script = "import sys\nfrom crossfade.cli.main import main\nmain(sys.argv[1:])\nprint('@@', *sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import site; site.main()\n{script}", *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    return set(done.stderr.partition("@@ ")[2].split())


def test_the_version_is_told_before_anything_is_imported() -> None:
    assert not loaded("--version") & {"typer", "rich", "pydantic", "asyncio", "sqlalchemy"}


def test_help_needs_neither_the_engine_nor_the_renderer() -> None:
    assert not loaded("--help") & {"rich", "pydantic", "sqlalchemy", "dbos", "httpx", "ruamel.yaml"}
    assert not loaded("deploy", "--help") & {"rich", "sqlalchemy", "dbos", "httpx", "ruamel.yaml"}


def test_every_command_is_listed_and_says_what_the_list_says(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(["--help"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    for name, entry in ENTRIES.items():
        assert f"{name} " in listed
        assert entry.summary in listed
        assert (command_of(entry).help or "").splitlines()[0] == entry.summary
        assert guarded([name, "--help"]) == 0
    assert sum(len(group) for group in COMMANDS.values()) == len(ENTRIES)


def test_version_in_every_position(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--version"], ["-V"], ["--json", "--version"]):
        assert door.main(arguments) == 0
        assert capsys.readouterr().out == f"crossfade {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["depoly"], "did you mean `crossfade deploy`?"),
        (["statsu", "--json"], "did you mean `crossfade status`?"),
        (["audit", "verfy"], "did you mean `crossfade audit verify`?"),
        (["deploy", "api@1.0.0", "--detatch"], "did you mean `--detach`?"),
        (["deploy"], "see `crossfade deploy --help`"),
        (["events", "--after", "x"], "see `crossfade events --help`"),
        (["demo", "--error-rate", "lots"], "is not a percentage"),
    ],
)
def test_a_mistyped_line_is_answered_with_what_was_meant(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guarded(arguments) == ExitCode.BAD_INPUT
    told = capsys.readouterr()
    assert says in (told.out if "--json" in arguments else told.err)


def test_errors_are_documents_too(tmp_path: Path) -> None:
    done = run("status", "--json", cwd=tmp_path)
    error = json.loads(done.stdout)["error"]
    assert done.returncode == 2
    assert set(error) == {"code", "what", "where", "next", "retry"}
    assert error["code"] == "config.not-found"
    assert done.stderr == ""


def test_without_a_terminal_there_are_no_control_characters(tmp_path: Path) -> None:
    assert run("init", "--name", "api", cwd=tmp_path).returncode == 0
    for arguments in (
        ("check",),
        ("plan", "api@1.0.0"),
        ("status",),
        ("history",),
        ("why",),
        ("--help",),
        ("status", "x"),
    ):
        done = run(*arguments, cwd=tmp_path, FORCE_COLOR="")
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stdout + done.stderr), arguments
        assert not any(line != line.rstrip() for line in done.stdout.splitlines()), arguments


def test_a_first_file_is_written_once(tmp_path: Path) -> None:
    assert run("init", "--name", "My Shop", "--command", "serve --port {port}", cwd=tmp_path).returncode == 0
    text = (tmp_path / "crossfade.yaml").read_text()
    again = run("init", cwd=tmp_path)
    assert (again.returncode, "nothing was changed" in again.stderr) == (2, True)
    assert (tmp_path / "crossfade.yaml").read_text() == text
    checked = run("check", "--json", cwd=tmp_path)
    assert json.loads(checked.stdout)["ok"] is True
    assert run("init", "--file", "no/such/folder/x.yaml", cwd=tmp_path).returncode == 2


def test_every_fault_of_the_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "crossfade.yaml").write_text(
        "project: Shop\ncomponents:\n  api: {comand: [x]}\nenvironments: {live: {}}\n"
    )
    done = run("check", cwd=tmp_path)
    assert done.returncode == 2
    assert "crossfade.yaml:1" in done.stderr
    assert "did you mean `command`?" in done.stderr
    faults = json.loads(run("check", "--json", cwd=tmp_path).stdout)["faults"]
    assert len(faults) >= 2


def test_names_are_not_guessed(tmp_path: Path) -> None:
    run("init", "--name", "api", cwd=tmp_path)
    for arguments in (("status", "apii"), ("deploy", "apii@1.0.0"), ("plan", "apii@1.0.0"), ("history", "apii")):
        done = run(*arguments, cwd=tmp_path)
        assert (done.returncode, "did you mean `api`?" in done.stderr) == (2, True), done
    assert "did you mean `production`?" in run("status", "api", "prodution", cwd=tmp_path).stderr
    for verb in ("pause", "resume", "promote", "abort", "rollback", "retry"):
        done = run(verb, cwd=tmp_path)
        assert (done.returncode, "there has been no rollout of api in production" in done.stderr) == (2, True), done


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    script = f"{sys.executable} -m crossfade.cli.main schema | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    assert done.stdout == "{\n0\n"
    assert done.stderr == ""


def test_our_own_fault_is_told_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".crossfade").mkdir()
    monkeypatch.setattr("crossfade.config.load.find", lambda _: 1 / 0)
    (tmp_path / "crossfade.yaml").write_text("")
    assert guarded(["check"]) == ExitCode.INTERNAL
    told = capsys.readouterr().err
    assert "this is a fault of Crossfade: ZeroDivisionError" in told
    assert "Traceback" not in told
    log = next((tmp_path / ".crossfade").glob("fault-*.log"))
    assert str(log) in told
    assert "ZeroDivisionError" in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_a_database_that_does_not_answer_keeps_its_secret(tmp_path: Path) -> None:
    run("init", "--name", "api", cwd=tmp_path)
    done = run("status", cwd=tmp_path, DATABASE_URL="postgresql://me:hunter2@127.0.0.1:1/x")
    assert done.returncode == 5
    assert "hunter2" not in done.stdout + done.stderr


def test_a_recorded_trace_is_replayed(tmp_path: Path) -> None:
    row = '{"at": %d, "seconds": 5, "arm": "%s", "requests": %d, "errors": %d}'
    arms = (("stable", 950, 1), ("canary", 50, 3))
    trace = tmp_path / "trace.jsonl"
    trace.write_text("\n".join(row % (at, *arm) for at in range(0, 60, 5) for arm in arms))
    outcome = json.loads(run("backtest", str(trace), "--json", cwd=tmp_path).stdout)
    assert outcome == replay.run(trace).as_json()
    assert (outcome["verdict"], outcome["cause"]) == ("fail", "errors")
    told = run("backtest", str(trace), cwd=tmp_path).stdout
    assert "it would have been taken back" in told
    assert f"{outcome['failed_requests']} failed requests" in told
    split = json.loads(run("backtest", str(trace), "--split", "--splits", "5", "--json", cwd=tmp_path).stdout)
    assert split["splits"] == 5
    assert run("backtest", "nothing.jsonl", cwd=tmp_path).returncode == 2
