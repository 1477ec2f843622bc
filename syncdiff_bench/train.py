"""`torchrun --nproc_per_node N -m syncdiff_bench.train CONFIG ...`: the same as `syncdiff-bench train CONFIG ...`."""

from syncdiff_bench.cli.train import train

if __name__ == "__main__":
    train()
