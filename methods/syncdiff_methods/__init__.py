"""The methods that come with the benchmark: bounds, the floor, videos of others, and SyncDiff."""
