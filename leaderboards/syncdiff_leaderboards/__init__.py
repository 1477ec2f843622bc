"""The paper's tables as data, and the leaderboards that this project generated.

`paper/table1.toml` .. `table6.toml` are SyncDiff's Tables 1-6. The harness finds them through the entry-point
group `syncdiff_bench.tables`; `syncdiff_bench.report.paper` documents and checks the format. A package
of another name with a `paper/` folder of its own adds tables in the same way.

`reproduction/pocket.toml` and its like say how the rows are made on a dataset (`syncdiff_bench.reproduction.recipe`).

A number stands here once: rows that recur point at the first place (`same_as`).
"""
