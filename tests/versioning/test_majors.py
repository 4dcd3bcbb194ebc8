"""Majors: what they need, what is missing, and from when on they can go; notices as files."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossfade.core.errors import BadInputError
from crossfade.versioning.majors import check_majors, majors, refuse
from crossfade.versioning.notices import parse_notice, read_guides, read_notices, write_notice
from crossfade.versioning.values import Bump, Notice, PlannedRelease

NOW = datetime(2025, 11, 19, 10, 30, tzinfo=UTC)
DAY = 86400.0
TWO = PlannedRelease("api", "1.4.0", "2.0.0", Bump.MAJOR)
GUIDE = {"docs/migrations/api-v2.md": "# To 2.0\n\nRename `a` to `b`.\n"}


def told(days_ago, component="api", major=2):
    return {(component, major): Notice(component, major, NOW - timedelta(days=days_ago), "Ada", "e-mail")}


@pytest.mark.parametrize(
    ("old", "new", "is_one"),
    [
        ("1.4.0", "2.0.0", True),
        ("2.0.0-rc.3", "2.0.0", True),
        ("1.9.9", "3.0.0", True),
        ("9.0.0", "10.0.0+build", True),
        ("0.9.0", "1.0.0", False),
        ("1.0.0-rc.1", "1.0.0", False),
        ("0.1.0", "0.2.0", False),
        ("1.4.0", "2.0.0-rc.0", False),
        ("2.0.0-rc.0", "2.0.0-rc.1", False),
        ("2.0.0", "2.0.1", False),
        ("2.1.0-rc.1", "2.1.0", False),
    ],
)
def test_what_a_major_is(old, new, is_one):
    assert bool(majors([PlannedRelease("api", old, new, Bump.MAJOR)])) is is_one


def test_a_major_that_has_all_may_go():
    lacking = check_majors([TWO], GUIDE, told(14), NOW)
    assert lacking == ()
    refuse(lacking)


def test_a_second_too_early_is_too_early():
    sent = NOW - timedelta(days=14) + timedelta(seconds=1)
    notices = {("api", 2): Notice("api", 2, sent, "Ada", "e-mail")}
    [lacking] = check_majors([TWO], GUIDE, notices, NOW)
    assert lacking.guide is None
    assert lacking.earliest == NOW + timedelta(seconds=1)


def test_everything_that_is_missing_is_told_at_once():
    others = [PlannedRelease("web", "1.0.0", "2.0.0", Bump.MAJOR), PlannedRelease("docs", "1.0.0", "1.1.0", Bump.MINOR)]
    with pytest.raises(BadInputError) as caught:
        refuse(check_majors([TWO, *others], {}, told(3), NOW))
    fault = caught.value
    assert fault.code == "majors.not-ready"
    assert "docs/migrations/api-v2.md" in fault.what
    assert "docs/migrations/web-v2.md" in fault.what
    assert "2025-11-30 10:30 UTC" in fault.what, "told three days ago: eleven are left"
    assert "2025-12-03 10:30 UTC" in fault.what, "told now: fourteen"
    assert "crossfade change notice web 2`" in fault.next
    assert "docs@" not in fault.where


@pytest.mark.parametrize("text", ["", "# To 2.0\n\n", "# To 2.0\n<!-- to be written -->\n## Steps\n"])
def test_an_empty_guide_is_no_guide(text):
    [lacking] = check_majors([TWO], dict.fromkeys(GUIDE, text), told(30), NOW)
    assert "says nothing yet" in lacking.guide
    assert lacking.notice is None


def test_no_notice_where_none_is_asked_for():
    assert check_majors([TWO], GUIDE, {}, NOW, notice=0) == ()
    assert check_majors([TWO], {}, {}, NOW, notice=0)[0].notice is None


def test_a_notice_about_another_major_does_not_count():
    assert check_majors([TWO], GUIDE, told(30, major=3) | told(30, component="web"), NOW)[0].earliest is None


def test_a_notice_of_tomorrow_is_not_yet_sent():
    [lacking] = check_majors([TWO], GUIDE, told(-1), NOW)
    assert "are told on 2025-11-20" in lacking.notice


@given(st.floats(0, 60 * DAY), st.floats(1, 60 * DAY))
def test_it_may_go_exactly_when_its_notice_is_old_enough(age, notice):
    notices = {("api", 2): Notice("api", 2, NOW - timedelta(seconds=age), "Ada", "e-mail")}
    lacking = check_majors([TWO], GUIDE, notices, NOW, notice=notice)
    assert bool(lacking) == (timedelta(seconds=age) < timedelta(seconds=notice))
    assert not lacking or check_majors([TWO], GUIDE, notices, lacking[0].earliest, notice=notice) == ()


def test_guides_are_read_from_the_repository(tmp_path):
    scoped = PlannedRelease("@shop/api", "1.0.0", "2.0.0", Bump.MAJOR)
    (tmp_path / "guides/@shop").mkdir(parents=True)
    (tmp_path / "guides/@shop/api-v2.md").write_text("Do this.")
    assert read_guides(tmp_path, [scoped, TWO], "guides") == {"guides/@shop/api-v2.md": "Do this."}
    (tmp_path / "guides/api-v2.md").write_bytes(b"\xff")
    with pytest.raises(BadInputError) as caught:
        read_guides(tmp_path, [TWO], "guides/")
    assert caught.value.code == "majors.unreadable-guide"


def test_notices_are_files(tmp_path):
    notices = [
        Notice("api", 2, NOW, "Ada <ada@example.org>", "größte Kunden"),
        Notice("@shop/web", 10, NOW, "Ada", "mail"),
    ]
    for notice in notices:
        write_notice(tmp_path, notice)
        write_notice(tmp_path, notice)
    assert (tmp_path / ".changeset/notices/api-v2.json").read_text() == (
        '{\n  "component": "api",\n  "major": 2,\n  "sent": "2025-11-19T10:30:00Z",\n'
        '  "by": "Ada <ada@example.org>",\n  "how": "größte Kunden"\n}\n'
    )
    assert read_notices(tmp_path) == {("api", 2): notices[0], ("@shop/web", 10): notices[1]}


def test_the_first_notice_is_not_written_over(tmp_path):
    write_notice(tmp_path, Notice("api", 2, NOW, "Ada", "mail"))
    with pytest.raises(BadInputError) as caught:
        write_notice(tmp_path, Notice("api", 2, NOW + timedelta(days=1), "Bob", "mail"))
    assert caught.value.code == "notices.told-already"
    assert "2025-11-19" in caught.value.what
    assert read_notices(tmp_path)["api", 2].by == "Ada"


def test_no_notices_where_there_is_no_folder(tmp_path):
    assert read_notices(tmp_path) == {}


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        ({"sent": "yesterday"}, ":4", "instant"),
        ({"sent": "2025-11-19T10:30:00"}, ":4", "instant"),
        ({"major": 0}, ":3", "whole number"),
        ({"major": True}, ":3", "whole number"),
        ({"by": " "}, ":5", "must be a text"),
        ({"how": None}, "", "'how' is missing"),
        ({"who": "me"}, "", "'who'"),
        ({"component": "web"}, "", "its name does not"),
    ],
)
def test_a_notice_that_cannot_be_understood_is_told(change, where, what):
    path = ".changeset/notices/api-v2.json"
    good = json.loads(Notice("api", 2, NOW, "Ada", "mail").as_text())
    bad = {key: value for key, value in (good | change).items() if value is not None}
    with pytest.raises(BadInputError) as caught:
        parse_notice(json.dumps(bad, indent=2), path)
    assert caught.value.code == "notices.bad-file"
    assert caught.value.where == path + where
    assert what in caught.value.what


def test_files_that_are_no_notices_are_told(tmp_path):
    folder = tmp_path / ".changeset/notices"
    folder.mkdir(parents=True)
    (folder / "api.json").write_text("{}")
    with pytest.raises(BadInputError, match="NAME-vMAJOR"):
        read_notices(tmp_path)
    (folder / "api.json").rename(folder / "api-v2.json")
    (folder / "api-v2.json").write_text('{\n"component": "api",\n')
    with pytest.raises(BadInputError) as caught:
        read_notices(tmp_path)
    assert caught.value.where == ".changeset/notices/api-v2.json:3"


def test_a_notice_is_there_whole_or_not_at_all(tmp_path):
    """Killed right before the file takes its name, the notice is absent; the next time it is there."""
    script = (
        "import os, pathlib, signal, sys; from datetime import UTC, datetime\n"
        "from crossfade.versioning.notices import write_notice\n"
        "from crossfade.versioning.values import Notice\n"
        "pathlib.Path.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "write_notice(pathlib.Path(sys.argv[1]), Notice('api', 2, datetime(2025, 11, 19, tzinfo=UTC), 'Ada', 'mail'))\n"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert killed.returncode == -9
    assert read_notices(tmp_path) == {}
    write_notice(tmp_path, Notice("api", 2, NOW, "Ada", "mail"))
    assert list(read_notices(tmp_path)) == [("api", 2)]
