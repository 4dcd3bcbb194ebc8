"""A real sshd on this machine, with an account, keys and files of its own: nothing of the machine's is used or changed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from free_ports import free_port
from patience import PATIENCE

_SERVER = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/known
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
"""
_CLIENT = """\
IdentityFile {folder}/{key}
IdentitiesOnly yes
UserKnownHostsFile {folder}/hosts
GlobalKnownHostsFile /dev/null
"""
# What sshd expects of a machine is put over it where only sshd sees it: its own account and folder, and that of who comes.
_START = """\
mount --bind "$1/passwd" /etc/passwd && mount --bind "$1/shadow" /etc/shadow && mount -t tmpfs none /run &&
mkdir -m 755 /run/sshd && exec "$2" -D -e -f "$1/sshd_config"
"""


class SshServer:
    """`ada` may come in with the key `ada`; `bin` holds an `ssh` that has it, and knows this server."""

    def __init__(self, client: Path, program: Path, keygen: Path) -> None:
        self._client = client
        self.folder = Path(tempfile.mkdtemp(prefix="cfs", dir="/tmp"))
        self.bin = self.folder / "bin"
        self.port = free_port()
        self.log = self.folder / "log"
        for key in ("host", "ada", "stranger"):
            command = [str(keygen), "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / key)]
            subprocess.run(command, check=True, timeout=PATIENCE, capture_output=True)
        self._write("known", (self.folder / "ada.pub").read_text())
        self._write("hosts", f"[127.0.0.1]:{self.port} {(self.folder / 'host.pub').read_text()}")
        self._write("passwd", f"sshd:x:74:74::/run/sshd:/bin/false\nada:x:0:0::{self.folder}:/bin/sh\n")
        self._write("shadow", "ada:*:19000:0:99999:7:::\n")
        self._write("sshd_config", _SERVER.format(port=self.port, folder=self.folder))
        self.comes_as("ada")
        shell = ["unshare", "--mount", "sh", "-c", _START, "sh", str(self.folder), str(program)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                shell, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._await()

    def url(self, path: Path) -> str:
        """The address of a socket of the far end."""
        return f"ssh://ada@127.0.0.1:{self.port}{path}"

    def comes_as(self, key: str) -> None:
        """Whose key `ssh` shows from now on."""
        self.bin.mkdir(exist_ok=True)
        self._write("ssh_config", _CLIENT.format(folder=self.folder, key=key))
        self._write("bin/ssh", f'#!/bin/sh\nexec "{self._client}" -F "{self.folder}/ssh_config" "$@"\n', mode=0o755)

    def close(self) -> None:
        """End it and everybody who came in."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()
        shutil.rmtree(self.folder)

    def _write(self, name: str, text: str, mode: int = 0o600) -> None:
        path = self.folder / name
        path.write_text(text)
        path.chmod(mode)

    def _await(self) -> None:
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up and self._process.poll() is None:
            if "Server listening on" in self.log.read_text():
                return  # it itself, and not somebody who was faster to take the port
            time.sleep(0.05)
        said = self.log.read_text()
        self.close()
        raise AssertionError(f"sshd did not start: {said}")
