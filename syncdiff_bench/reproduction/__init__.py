"""`syncdiff-bench paper reproduce`: the paper's tables made from nothing but data: train, generate, score, print.

* `recipe`: how the rows of the tables are made on one dataset, read from TOML of the leaderboard packages;
* `models`: the trained models that rows need, and where they are; `rows`: jobs, their runs, and how far these are;
* `planning`: what is missing, and how long it will take;
* `make`: doing it, under `leases` where several processes or machines share a folder; `probing`: Table 4;
* `results`: runs pooled, tables written; `findings`: which of the paper's conclusions hold.
"""
