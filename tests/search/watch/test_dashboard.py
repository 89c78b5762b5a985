"""`smt-nas dashboard RUN`: its study, on this machine, at a free port."""

import json
import sys
import threading
import urllib.request

import pytest

from smt_nas.errors import ConfigError, StoreError
from smt_nas.search import Settings, create_search
from smt_nas.search.run_directory import RunDirectory
from smt_nas.search.watch import dashboard
from tests.fakes.terminal import invoke


@pytest.fixture
def run(tmp_path):
    settings = Settings(
        space="smt_micro", strategy="random", n=3, verify=False, objectives=("macs", "params")
    )
    create_search(settings, tmp_path / "run").run()
    return tmp_path / "run"


def test_it_serves_the_study_of_the_run(run):
    server, address = dashboard.serve_dashboard(RunDirectory.open(run))
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base, _, number = address.partition("/dashboard/studies/")
        with urllib.request.urlopen(f"{base}/api/studies") as answer:
            studies = json.load(answer)["study_summaries"]
        assert [(s["study_name"], s["study_id"]) for s in studies] == [("run", int(number))]
        assert base.startswith("http://127.0.0.1:")
        taken = server.server_port
        with pytest.raises(ConfigError, match=f"--port {taken}: cannot be listened on"):
            dashboard.serve_dashboard(RunDirectory.open(run), taken)
        server.shutdown()


def test_without_the_extra_one_line_says_how_to_get_it(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    refused = invoke("dashboard", run, code=1)
    assert refused.stderr.count("\n") == 1 and not refused.stdout
    assert "optuna-dashboard must be installed" in refused.stderr
    assert "pip install 'smt-nas[dashboard]'" in refused.stderr


def test_a_run_without_a_study_is_not_given_one(run):
    (run / "study.db").unlink()
    with pytest.raises(StoreError, match="holds no trials yet"):
        dashboard.serve_dashboard(RunDirectory.open(run))
    assert not (run / "study.db").exists()


def test_ctrl_c_ends_it_and_the_address_is_all_of_stdout(run, monkeypatch):
    class Server:
        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

        def serve_forever(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(dashboard, "serve_dashboard", lambda d, port: (Server(), "http://here"))
    shown = invoke("dashboard", run)
    assert shown.stdout == "http://here\n" and "Ctrl-C ends it." in shown.stderr


def test_a_password_is_never_told(run, monkeypatch):
    file = run / "run.yaml"
    text = file.read_text().replace("storage: null", "storage: postgresql://me:***@nowhere/db")
    file.write_text(text)
    refused = invoke("dashboard", run, code=1).stderr
    assert "the password of postgresql://me:***@nowhere/db was not kept" in refused
    url = "postgresql://me:s3cret@127.0.0.1:1/db"
    refused = invoke("dashboard", run, "--storage", url, code=1)
    assert "s3cret" not in refused.output
