"""Any program as a method: one process per clip, in a private folder. docs/external.md is the guide."""
