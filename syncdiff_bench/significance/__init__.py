"""Whether two results differ: paired comparison of runs, and the gate that CI uses."""
