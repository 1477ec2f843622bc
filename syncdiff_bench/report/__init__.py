"""The paper's tables, joined with one's own runs, as Markdown, LaTeX, HTML or CSV.

* `paper`: the published numbers, read from the TOML of leaderboard packages;
* `results`: the summaries of run directories;
* `comparison`: paper | ours | delta | n (failed), cell by cell;
* `rendering`: a comparison as text.
"""
