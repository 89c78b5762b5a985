"""optuna-dashboard on the study of a run, served on this machine alone."""

from __future__ import annotations

from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna

from smt_nas.errors import ConfigError, StoreError, one_line
from smt_nas.files import shell_word
from smt_nas.runtime.imports import import_optional, quiet_libraries
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.storage.study import Study

_HOST = "127.0.0.1"
_WAY_OUT = "`pip install 'smt-nas[dashboard]'`, or look at history.csv and front.csv of the run."


class _Server(ThreadingMixIn, WSGIServer):
    """Answers several requests at once: a page asks for many things."""

    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests."""


def serve_dashboard(directory: RunDirectory, port: int | None = None) -> tuple[WSGIServer, str]:
    """A server that listens already, and the address of the run's page; call `serve_forever`.

    Args:
        directory: of the run.
        port: None for a free one.

    Raises:
        MeasurementError: optuna-dashboard is not installed.
        StoreError: the storage cannot be used, or holds no such study.
        ConfigError: the port is taken.
    """
    dashboard = import_optional(
        "optuna_dashboard", _WAY_OUT, where="dashboard", package="optuna-dashboard"
    )
    if not directory.holds_study:
        raise StoreError(
            f"{directory.path}: holds no trials yet. Use `smt-nas resume "
            f"{shell_word(directory.path)}`."
        )
    number = Study.find_number(directory.storage, directory.study_name)
    with quiet_libraries():
        app = dashboard.wsgi(optuna.storages.RDBStorage(directory.storage))
    try:
        server = make_server(
            _HOST, port or 0, app, server_class=_Server, handler_class=_QuietHandler
        )
    except OSError as error:
        raise ConfigError(
            f"--port {port}: cannot be listened on ({error.strerror or one_line(error)}). Name "
            "another, or none for a free one."
        ) from error
    return server, f"http://{_HOST}:{server.server_port}/dashboard/studies/{number}"
