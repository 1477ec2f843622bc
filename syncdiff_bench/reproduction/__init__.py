"""`syncdiff-bench paper reproduce`: the paper's tables made from nothing but data: train, generate, score, print.

* `recipe`: how the rows of the tables are made on one dataset, read from TOML of the leaderboard packages;
* `models`: the trained models that rows need, and where they are;
* `jobs`: one row (a system) on one dataset, and the units of work that make it;
* `claims`: who does which unit, where several processes or machines share a folder;
* `costs`: how long what is missing will take;
* `working`: doing it; `results`: seeds pooled, tables written; `findings`: which of the paper's conclusions hold.
"""
