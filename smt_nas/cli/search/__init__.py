"""Commands on searches."""

from smt_nas.cli.search import dashboard, front, plot, report, resume, search  # noqa: F401  # they register commands
