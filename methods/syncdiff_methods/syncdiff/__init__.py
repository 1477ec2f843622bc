"""SyncDiff: talking heads by latent diffusion, frame by frame (Jia et al., WACV 2025).

config         every choice of the paper, and every choice that it left open, as a field
autoencoder    frames <-> latents (VQ-f4)
masking        what of a frame the network is not shown
audio          AV-HuBERT features and the temporal filter -> one token per frame
denoiser       UNet and bottleneck
model          the three networks as one directory on disk
sampling       DDIM over one frame; the autoregressive loop over the frames of many clips in lock-step
method         the plugin
training ...   the training tasks
"""
