"""Face detection: detectors that need an extra, one box per frame out of what they find, and its cache on disk."""
