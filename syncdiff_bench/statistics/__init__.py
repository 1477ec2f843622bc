"""Statistics without files: resampling, intervals and tests."""
