"""Whatever is typed, and whatever the file holds: a clear answer, never a traceback, never our own fault."""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crossfade.cli.app import ENTRIES
from crossfade.cli.faults import guarded

_QUICK = sorted(set(ENTRIES) - {"demo", "worker", "deploy"})  # those start things
_WORDS = [
    *_QUICK, "verify", "api", "api@1.0.0", "api@", "@1", "production", "ro_", "ro_x", "--json", "--watch", "--full", "--to",
    "1.0.0", "--reason", "--file", "--state", "--after", "--lines", "-n", "--slot", "blue", "--limit", "--help", "-V", "--",
    "-", "", "0", "-1", "9" * 30, "crossfade.yaml", "/dev/null", "/", "--policy", "--split", "--rollout", "\0", "\udc80", "é",
]  # fmt: skip
_ANSWERS = {0, 2, 5}
_FILE = """\
project: shop
components: {api: {command: [serve, "{port}"]}}
environments: {production: {}}
"""


@contextlib.contextmanager
def _folder(text: bytes) -> Iterator[Path]:
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "crossfade.yaml").write_bytes(text)
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.chdir(before)


def _answer(arguments: list[str]) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = guarded(arguments)
    return code, out.getvalue(), err.getvalue()


@settings(max_examples=150)
@given(st.lists(st.one_of(st.sampled_from(_WORDS), st.text(max_size=8)), max_size=6))
@example(["status", "\udc80"])
@example(["history", "ro_\udc80"])
@example(["logs", "api", "production"])
@example(["rollback", "--to", "one"])
def test_any_line_gets_an_answer(arguments: list[str]) -> None:
    following = {"--follow"} & set(arguments)
    unsafe = {"demo", "worker", "deploy"} & set(arguments)
    if following or unsafe:
        return
    with _folder(_FILE.encode()) as folder:
        code, out, err = _answer(arguments)
        faults = [log.read_text() for log in folder.rglob("fault-*.log")]
    assert code in _ANSWERS, (arguments, out, err, faults)
    assert "Traceback" not in out + err
    if code and "--json" in arguments:
        json.loads(out)


@settings(max_examples=100)
@given(
    st.one_of(st.binary(max_size=300), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
@example(b"project: [")
@example(b"\xff\xfe")
@example(_FILE.encode()[:-5])
def test_any_file_gets_an_answer(text: bytes) -> None:
    for arguments in (["check"], ["check", "--json"], ["plan", "api@1.0.0", "--json"], ["status"]):
        with _folder(text) as folder:
            code, out, err = _answer(arguments)
            faults = [log.read_text() for log in folder.rglob("fault-*.log")]
        assert code in {0, 2}, (arguments, out, err, faults)
        assert "Traceback" not in out + err
        if "--json" in arguments:
            json.loads(out)


@pytest.mark.parametrize("name", ["crossfade.yaml", ".crossfade/state.db"])
def test_a_folder_in_place_of_a_file_gets_an_answer(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "crossfade.yaml").write_text(_FILE)
    path = tmp_path / name
    path.unlink(missing_ok=True)
    path.mkdir(parents=True)
    code, out, err = _answer(["status"])
    assert code == 2, out + err
