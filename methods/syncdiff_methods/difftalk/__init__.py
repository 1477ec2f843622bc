"""DiffTalk (Shen et al., CVPR 2023) on SyncDiff's building blocks (docs/spec/difftalk.md).

audio (8, 16, 29) ──▶ AudioNet ──▶ temporal filter ──▶ 64 ─┐
39 landmarks ──▶ LandmarkNet ──▶ 64 ───────────────────────┴─▶ one token of 128 ─▶ UNet
noisy, masked, reference latents (3 channels each, in this order) ───────────────▶ UNet
"""
