"""Where the admin socket lies: a socket's path has to be short, however long the folders are."""

import tempfile
from pathlib import Path

from crossfade.traffic.routers.caddy_process import LONGEST_SOCKET, ManagedCaddy

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
    assert all(len(str(path)) <= LONGEST_SOCKET for path in found)
