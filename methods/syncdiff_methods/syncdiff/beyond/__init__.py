"""Variants that the paper does not have, one file each (docs/spec/syncdiff.md#beyond)."""
