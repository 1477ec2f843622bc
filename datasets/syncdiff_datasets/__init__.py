"""Built-in datasets: `lrs2`, `lrs3`, `folder` (any tree of videos) and `pocket` (embedded)."""
