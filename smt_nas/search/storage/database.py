"""The database of a study: a SQLite file, or a server that many processes share.

What a database complains of is told in one line. Calls of a server whose connection was lost are
tried again for about a minute, as a server is back in seconds when it is restarted; so what is
handed to `Database.call` may run more than once, and must bear that.
"""

from __future__ import annotations

import re
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy.exc
from optuna.storages import RDBStorage

from smt_nas.errors import ConfigError, StoreError
from smt_nas.files import sqlite_url
from smt_nas.runtime.interrupts import hold_interrupts

_Answer = TypeVar("_Answer")
HIDDEN = "***"  # stands for a password
WAITS_S: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Before each further try of a lost server: a minute in all."""
_POLL_S = 0.2
_AWAY = re.compile(
    r"refused|timed? ?out|unreachable|starting up|shutting down|recovery mode|can't connect"
    r"|too many|unexpectedly|reset by peer",
    re.I,
)
"""What is said of a server that is not there for the moment. A host that nobody knows, or a
password, is as wrong a minute later."""
_LIBPQ = {
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # ms
}
"""How long PostgreSQL's own drivers wait for a machine that has gone; by default a quarter of an
hour and more. https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"""
_LOCKS = {
    "postgresql": (
        "SELECT pg_try_advisory_lock(:number)",
        "SELECT pg_advisory_unlock(:number)",
    ),
    "mysql": ("SELECT GET_LOCK(:number, 0)", "SELECT RELEASE_LOCK(:number)"),
    "mariadb": ("SELECT GET_LOCK(:number, 0)", "SELECT RELEASE_LOCK(:number)"),
}
"""How a server gives a lock that goes with its connection, and takes it back.

https://www.postgresql.org/docs/current/explicit-locking.html#ADVISORY-LOCKS
https://dev.mysql.com/doc/refman/8.4/en/locking-functions.html
"""


class Database:
    """One study's database. Made by `open_database`.

    Attributes:
        storage: Optuna's.
        study_name: of the study in it.
        where: the study and the URL without its password, for messages.
        report: hears that the server is waited for.
    """

    def __init__(self, storage: RDBStorage, study_name: str, where: str) -> None:
        self.storage = storage
        self.study_name = study_name
        self.where = where
        self.report: Callable[[str], None] = lambda text: None
        self._thread = threading.local()
        # who drops a study closes its connections too: a driver complains of those that are left
        weakref.finalize(self, _close_connections, storage).atexit = False

    @property
    def is_shared(self) -> bool:
        """Whether several processes may work on it: a server, no file."""
        return self.storage.engine.dialect.name in _LOCKS

    def close(self) -> None:
        """Give all connections back; what is called later makes new ones."""
        _close_connections(self.storage)

    def call(self, function: Callable[[], _Answer], retry: bool = True) -> _Answer:
        """Call a function that reads or writes; again, where a server was lost meanwhile.

        Inside of another call it is not tried again by itself: the outer one begins anew.

        Raises:
            StoreError: the database cannot be used.
        """
        with guard(self.where):
            if getattr(self._thread, "in_call", False):
                return function()
            self._thread.in_call = True
            try:
                return self._try(function, WAITS_S if retry and self.is_shared else ())
            finally:
                self._thread.in_call = False

    def _try(self, function: Callable[[], _Answer], waits_s: tuple[float, ...]) -> _Answer:
        for number, wait_s in enumerate(waits_s):
            try:
                with hold_interrupts():
                    return function()
            except Exception as error:
                if not is_connection_lost(error):
                    raise
                if number == 0:
                    self.report(f"{self.where}: does not answer. Trying again for a minute.")
                time.sleep(wait_s)
        with hold_interrupts():
            return function()

    @contextmanager
    def locked(self, name: str) -> Iterator[bool]:
        """Hold a lock of a name, of all processes on this server; False where another holds it.

        It ends with the connection, so also with a process that is killed. Of a file, which only
        one process works on, it is always free.
        """
        if not self.is_shared:
            yield True
            return
        take, give_back = map(sqlalchemy.text, _LOCKS[self.storage.engine.dialect.name])
        number = {"number": zlib.crc32(f"smt-nas {name} {self.study_name}".encode())}
        with self.storage.engine.connect() as connection:
            try:
                is_held = bool(connection.execute(take, number).scalar())
                connection.commit()  # else it would idle in a transaction
                yield is_held
                if is_held:
                    connection.execute(give_back, number)
                    connection.commit()
            except BaseException:
                connection.invalidate()  # closed, not pooled with a lock that nobody gives back
                raise

    @contextmanager
    def wait_for_lock(self, name: str) -> Iterator[None]:
        """The same, waited for; where the server is lost meanwhile, the block goes on without it.

        Raises:
            StoreError: the database cannot be used.
        """
        while True:
            stack = ExitStack()
            if self.call(lambda stack=stack: stack.enter_context(self.locked(name))):  # type: ignore[misc]
                break
            stack.close()
            time.sleep(_POLL_S)
        try:
            yield
        finally:
            with suppress(sqlalchemy.exc.SQLAlchemyError):  # the lock went with its connection
                stack.close()


def _close_connections(storage: RDBStorage) -> None:
    storage.remove_session()
    storage.engine.dispose()


def open_database(url: str, study_name: str) -> Database:
    """Open the database of a study, with its tables.

    Raises:
        ConfigError: not a URL.
        StoreError: it cannot be used.
    """
    check_url(url)
    where = describe_study(url, study_name)
    with guard(where):
        return Database(_make_storage(url), study_name, where)


def _make_storage(url: str) -> RDBStorage:
    """Of processes that make the tables of a new database at once, all but one fail at first."""
    options = _choose_options(url)
    for wait_s in (0.2, 0.5, 1.0):
        try:
            return RDBStorage(url, engine_kwargs=options)
        except (sqlalchemy.exc.ProgrammingError, sqlalchemy.exc.IntegrityError):
            time.sleep(wait_s)
    return RDBStorage(url, engine_kwargs=options)


def _choose_options(url: str) -> dict[str, Any]:
    """What SQLAlchemy is to tell the driver; what the URL says itself stays."""
    parts = sqlalchemy.make_url(url)
    if parts.drivername not in ("postgresql", "postgresql+psycopg", "postgresql+psycopg2"):
        return {}
    return {"connect_args": {k: v for k, v in _LIBPQ.items() if k not in parts.query}}


def wait_for_server(url: str, report: Callable[[str], None]) -> None:
    """Wait for a server that does not answer, for a minute at most; `report` hears of it.

    Whatever else is wrong with it, and that it still does not answer, is told by who opens it.
    """
    if not is_shared_url(url):
        return
    begun = time.monotonic()
    for number, wait_s in enumerate(WAITS_S):
        if time.monotonic() - begun > sum(WAITS_S) or not _is_away(url):
            return
        if number == 0:
            report(f"{hide_password(url)}: does not answer. Trying again for a minute.")
        time.sleep(wait_s)


def _is_away(url: str) -> bool:
    try:
        engine = sqlalchemy.create_engine(url, **_choose_options(url))
    except (sqlalchemy.exc.SQLAlchemyError, ImportError):
        return False
    try:
        with engine.connect():
            return False
    except sqlalchemy.exc.SQLAlchemyError as error:
        return _AWAY.search(str(getattr(error, "orig", error))) is not None
    finally:
        engine.dispose()


def is_shared_url(storage: str | None) -> bool:
    """Whether a storage is a server that several processes may share."""
    if storage is None:
        return False
    return sqlalchemy.make_url(storage).get_backend_name() in _LOCKS


def make_absolute(storage: str) -> str:
    """The URL by which a SQLite file is found from any folder; others as they are."""
    url = sqlalchemy.make_url(storage)
    name = url.database or ""
    if url.get_backend_name() != "sqlite" or name.startswith("file:") or Path(name).is_absolute():
        return storage
    absolute = sqlalchemy.make_url(sqlite_url(Path(name)))
    return url.set(database=absolute.database).render_as_string(hide_password=False)


def describe_study(url: str, name: str) -> str:
    """A study and where it is, without a password."""
    return f"study {name!r} in {hide_password(url)}"


def check_url(storage: str) -> None:
    """Raise ConfigError where a storage is no URL; what was written is not repeated.

    A URL that would be read otherwise than it was meant is none: an `@` in a password ends it, and
    the rest of the password is taken for the host then, and shown.
    """
    url = None
    try:
        url = sqlalchemy.make_url(storage)
        url.get_dialect()
    except (sqlalchemy.exc.ArgumentError, ValueError):
        url = None
    except ImportError:
        pass  # a missing driver is told where it is used
    if url is None or (url.get_backend_name() != "sqlite" and _holds_at(url)):
        raise ConfigError(
            "--storage: must be the URL of a database. Write e.g. postgresql://user:password@host"
            "/name, with special characters of the password as %40."
        )
    if url.get_backend_name() == "sqlite" and _is_in_memory(url):
        raise ConfigError(
            "--storage: must be a file or a server, as what is in memory cannot go on (got "
            f"{storage}). Write e.g. sqlite:////home/me/study.db."
        )


def _holds_at(url: sqlalchemy.URL) -> bool:
    return any("@" in (part or "") for part in (url.host, url.database))


def _is_in_memory(url: sqlalchemy.URL) -> bool:
    name = url.database or ":memory:"
    return ":memory:" in name or url.query.get("mode") == "memory"


def hide_password(storage: str) -> str:
    """A storage URL that may be shown or written down."""
    text = sqlalchemy.make_url(storage).render_as_string(hide_password=True)
    return re.sub(r"((?:pass\w*|pwd|sslpassword|token)=)[^&]*", rf"\1{HIDDEN}", text, flags=re.I)


@contextmanager
def guard(where: str) -> Iterator[None]:
    """Tell what a storage complains of in one line."""
    try:
        yield
    except optuna.exceptions.DuplicatedStudyError as error:
        raise StoreError(
            f"{where}: exists already. Use `smt-nas resume`, or another --out."
        ) from error
    except KeyError as error:
        raise StoreError(
            f"{where}: is not there. Check --storage, or search anew with another --out."
        ) from error
    except (
        sqlalchemy.exc.SQLAlchemyError,
        optuna.exceptions.StorageInternalError,
        ImportError,
        RuntimeError,
        OSError,
        ValueError,  # of a database whose text was overwritten
        TypeError,
    ) as error:
        cause = error.__cause__ or error
        cause = getattr(cause, "orig", cause)
        reason = " ".join(str(cause).split())[:200]
        raise StoreError(f"{where}: cannot be used ({reason}). {_find_way_out(cause)}") from error


def is_connection_lost(error: BaseException) -> bool:
    """Whether a server, rather than what it was asked, is the matter."""
    lost = (sqlalchemy.exc.OperationalError, sqlalchemy.exc.InterfaceError)
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, lost) or getattr(link, "connection_invalidated", False):
            return True
        link = link.__cause__ or link.__context__
    return False


def _find_way_out(cause: object) -> str:
    if isinstance(cause, ImportError):
        driver = getattr(cause, "name", None)
        if driver == "psycopg":
            return 'Install it: pip install "smt-nas[postgres]", or drop --storage.'
        return "Install that database driver, or drop --storage."
    if type(cause) is sqlite3.DatabaseError or isinstance(cause, ValueError | TypeError):
        return "The file is damaged: restore a copy of it, or search anew with another --out."
    return "What was stored is kept; mend the cause, then start the same again."
