"""Statistics without files: intervals and resampling."""
