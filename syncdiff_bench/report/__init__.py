"""What people read: tables in every format, the HTML page, figures.

* `table`, `writers`: the one table that every output is, and a writer per format;
* `leaderboard`, `comparison`, `paper_table`: who builds one;
* `packages`, `paper`, `anchors`, `findings`: what leaderboard packages bring as TOML;
* `results`, `joined`: a paper's table joined with runs, cell by cell;
* `calibration`: ground truth against its anchors;
* `page`: the HTML page and the strip of frames.
"""
