"""The command line's stages from Python: `from syncdiff_bench import run, score, report, compare, load_run`.

Arguments are those of the commands; results are run directories read back, and tables.
"""
