"""`python -m syncdiff_bench`: the command line."""

from syncdiff_bench.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
