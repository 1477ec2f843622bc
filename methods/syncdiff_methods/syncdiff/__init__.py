"""SyncDiff: talking heads by latent diffusion, frame by frame (Jia et al., WACV 2025)."""
