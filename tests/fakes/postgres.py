"""A PostgreSQL server of a test's own: started, stopped and killed at will. It refuses root, so
that root runs it as `nobody`."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

import pytest

PASSWORD = "s3cr3t-of-tests"
_USER = "smtnas"


def find_programs():
    """The folder of initdb and pg_ctl; Debian keeps them out of PATH. Skips where there is none."""
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (folder / "initdb").is_file():
            return folder
    program = shutil.which("initdb")
    if program is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
    return Path(program).resolve().parent


def find_free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Server:
    """A server with one database and one user, whose password is needed.

    Attributes:
        port: of localhost.
    """

    def __init__(self):
        pytest.importorskip("psycopg", reason="psycopg is not installed")
        self._programs = find_programs()
        self._as_user = self._find_user()
        self.port = find_free_port()
        # of root, nobody must get there: no folder of one user alone
        folder = "/tmp" if self._as_user else None
        self.folder = Path(tempfile.mkdtemp(prefix="smt-nas-pg-", dir=folder))
        if self._as_user:
            shutil.chown(self.folder, "nobody")
        self._data = self.folder / "data"
        secret = self.folder / "secret"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        words = ["-U", _USER, "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8"]
        self._run("initdb", "-D", str(self._data), *words, "--no-sync", "--locale=C")
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(
                f"port={self.port}\nlisten_addresses='127.0.0.1'\nfsync=off\n"
                f"unix_socket_directories=''\nmax_connections=60\nshared_buffers=16MB\n"
            )

    @staticmethod
    def _find_user():
        if os.geteuid() != 0:
            return []
        if shutil.which("setpriv") is None:
            pytest.skip("PostgreSQL does not run as root, and setpriv is not there")
        nobody = pwd.getpwnam("nobody")
        return ["setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]

    def _run(self, program, *words):
        command = [*self._as_user, str(self._programs / program), *words]
        log = self.folder / f"{program}.out"
        with log.open("ab") as out:  # no pipe: the server would keep it open
            code = subprocess.run(command, stdout=out, stderr=out, cwd="/", check=False).returncode
        assert code == 0, log.read_text()

    def url(self, password=PASSWORD):
        return f"postgresql://{_USER}:{password}@127.0.0.1:{self.port}/postgres"

    def make_empty(self):
        """Drop what its database holds; its URL."""
        import psycopg

        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        return self.url()

    def start(self):
        log = self.folder / "log"
        self._run("pg_ctl", "-D", str(self._data), "-l", str(log), "-w", "-t", "60", "start")

    def stop(self):
        """As when its machine is restarted: connections are cut, nothing is waited for."""
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "-w", "stop")

    @property
    def pid(self):
        return int((self._data / "postmaster.pid").read_text().split()[0])

    def close(self):
        if (self._data / "postmaster.pid").is_file():
            os.kill(self.pid, signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def postgres():
    server = Server()
    try:
        server.start()
        yield server
    finally:
        server.close()
