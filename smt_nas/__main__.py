"""`python -m smt_nas`."""

from smt_nas.cli import main

main()
