"""A real PostgreSQL for tests: Debian's, a cluster of its own on a free port of the loopback interface, removed after use."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from tests.ports import LOOPBACK, free_port

OWNER = "pdl1es"
"""The role of the gateway; it owns its databases and is no superuser."""
READY_SECONDS = 60.0


class PostgresServer:
    """A cluster: started and ended as a test wants, its databases reached by password.

    Parameters
    ----------
    programs
        The folder of ``initdb`` and ``postgres``.
    folder
        An empty one that any user may enter.
    """

    def __init__(self, programs: Path, folder: Path) -> None:
        self.programs, self.folder, self.port = programs, folder, free_port()
        self.password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self._user = _unprivileged_user()
        (folder / "data").mkdir()
        (folder / "admin").write_text(self.password, encoding="ascii")
        pgpass = folder / "pgpass"
        pgpass.write_text(f"{LOOPBACK}:{self.port}:*:*:{self.password}\n", encoding="ascii")
        pgpass.chmod(0o600)
        if self._user is not None:
            shutil.chown(folder / "data", self._user)
            shutil.chown(folder / "admin", self._user)
        self._run("initdb", "-D", folder / "data", "-U", "admin", "-A", "scram-sha-256", f"--pwfile={folder / 'admin'}",
                  "-E", "UTF8", "--locale=C", "--no-sync")  # fmt: skip

    @property
    def environment(self) -> Mapping[str, str]:
        """What a client finds the password by, so that it stands in no URL."""
        return {"PGPASSFILE": str(self.folder / "pgpass")}

    def url(self, name: str, role: str = OWNER) -> str:
        """Return SQLAlchemy's URL of a database, without the password."""
        return f"postgresql+psycopg://{role}@{LOOPBACK}:{self.port}/{name}"

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = {"listen_addresses": LOOPBACK, "port": self.port, "unix_socket_directories": ""}
        given = [text for name, value in options.items() for text in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data", *given],
                stdout=log,
                stderr=log,
                user=self._user,
            )
        until = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._connect("postgres").close()
                return
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")[-2000:]
                assert time.monotonic() < until, "PostgreSQL does not answer"
                time.sleep(0.1)

    def stop(self) -> None:
        """End it in order; open connections are broken."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(timeout=60)
            self._process = None

    def make_role(self, role: str) -> None:
        """Make a role that may log in, and nothing more."""
        with self._connect("postgres") as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(self.password))
            )

    def make_database(self, name: str, owner: str = OWNER) -> str:
        """Make a database and return its URL."""
        with self._connect("postgres") as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner))
            )
        return self.url(name, owner)

    def tables(self, name: str) -> set[tuple[str, str]]:
        """Return schema and name of each table of a database."""
        query = (
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
        )
        with self._connect(name) as connection:
            return {(str(schema), str(table)) for schema, table in connection.execute(query)}

    def _connect(self, name: str) -> psycopg.Connection:
        return psycopg.connect(
            host=LOOPBACK, port=self.port, dbname=name, user="admin", password=self.password, autocommit=True
        )

    def _run(self, program: str, *arguments: str | Path) -> None:
        done = subprocess.run(
            [self.programs / program, *arguments], user=self._user, capture_output=True, text=True, cwd=self.folder
        )
        assert done.returncode == 0, done.stderr[-2000:]


@contextmanager
def running_postgres(programs: Path) -> Iterator[PostgresServer]:
    """Start a cluster with the gateway's role, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="pdl1es-postgres-"))
    folder.chmod(0o755)
    server = PostgresServer(programs, folder)
    try:
        server.start()
        server.make_role(OWNER)
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)


def _unprivileged_user() -> str | None:
    """Return whom the server runs as: PostgreSQL refuses to be root."""
    if os.geteuid() != 0:
        return None
    there = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in there else "nobody"
