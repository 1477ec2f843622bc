"""What the paper does not have, one subject a file (docs/spec/syncdiff.md#beyond)."""
