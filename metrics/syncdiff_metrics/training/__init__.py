"""Training from scratch of the small networks in `experts.py`."""
