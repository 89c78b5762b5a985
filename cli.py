"""Run smt-nas from a checkout: `python cli.py search --budget 2.4GFLOPs`."""

from smt_nas.cli import main

if __name__ == "__main__":
    main()
