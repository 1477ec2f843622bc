"""Small experts for datasets that the published networks have never seen: a SyncNet and an AV-HuBERT lip reader,
trained from scratch by `syncdiff-bench train`, and those of pocket as they ship.
"""
