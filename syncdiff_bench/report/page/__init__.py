"""Figures of runs: the strip of frames as in a paper, and the HTML page."""
