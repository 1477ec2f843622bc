"""`torchrun --nproc_per_node N -m syncdiff_bench.train CONFIG ...`: the same as `syncdiff-bench train CONFIG ...`."""

import sys

from syncdiff_bench.cli import main

if __name__ == "__main__":
    raise SystemExit(main(["train", *sys.argv[1:]]))
