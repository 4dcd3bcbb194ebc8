"""Where the admin socket lies: a socket's path has to be short, however long the folders are."""

import os
import tempfile
from pathlib import Path

import pytest

from crossfade.core.errors import CrossfadeError
from crossfade.traffic.private_sockets import LONGEST
from crossfade.traffic.routers.caddy_process import ManagedCaddy

LONG = Path("/", *["a-folder-with-a-long-name"] * 6)


def test_it_lies_beside_the_configuration_where_it_fits(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", "/short")
    assert ManagedCaddy(Path("/srv/caddy"), "127.0.0.1:80").socket == Path("/srv/caddy/admin.sock")


def test_it_fits_whatever_is_long(monkeypatch):
    found = set()
    for temporary in ("/short", str(LONG)):
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        found |= {ManagedCaddy(LONG / name, "127.0.0.1:80").socket for name in ("one", "two")}
    assert len(found) == 4
    assert all(len(str(path)) <= LONGEST for path in found)


def open_to_all(folder):
    folder.mkdir(mode=0o755)


def of_another_user(folder):
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)


def a_link(folder):
    elsewhere = folder.with_name("elsewhere")
    elsewhere.mkdir(mode=0o700)
    folder.symlink_to(elsewhere)


@pytest.mark.parametrize("taken", [open_to_all, of_another_user, a_link], ids=lambda each: each.__name__)
def test_a_folder_that_somebody_else_has_prepared_is_not_used(monkeypatch, taken):
    """Two shared folders: in the first our name is taken, so the second is used; where both are, it is told."""
    with tempfile.TemporaryDirectory(dir="/tmp") as first, tempfile.TemporaryDirectory(dir="/tmp") as second:
        monkeypatch.setattr("crossfade.traffic.private_sockets.SHARED", Path(second))
        monkeypatch.setattr(tempfile, "tempdir", first)
        caddy = ManagedCaddy(LONG / first[-4:], "127.0.0.1:0")
        trap = caddy.socket.parent
        assert trap.parent == Path(first)
        taken(trap)
        other = caddy.socket.parent
        assert other.parent == Path(second)
        taken(other)
        with pytest.raises(CrossfadeError) as refused:
            caddy._clear_the_way()
        assert (refused.value.code, refused.value.where) == ("router.socket-folder", str(other))
        other.rmdir() if not other.is_symlink() else other.unlink()
        caddy._clear_the_way()
        assert (caddy.socket.parent, other.stat().st_mode & 0o777) == (other, 0o700)
