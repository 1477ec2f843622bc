"""The metrics that come with the benchmark; `weights.toml` lists the networks that they and the methods use."""
