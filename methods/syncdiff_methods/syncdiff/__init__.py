"""SyncDiff: talking heads by latent diffusion, frame by frame (Jia et al., WACV 2025).

config         every choice of the paper, and every choice that it left open, as a field; sizes and variants
masking        what of a frame the network is not shown
audio          AV-HuBERT or DeepSpeech features and the temporal filter -> one token per frame
model          autoencoder (VQ-f4), denoiser (UNet and bottleneck) and audio condition as one folder on disk
sampling       samplers of one frame; batched autoregressive sampling over the frames of many clips
acceleration   number format, layout, compilation; FLOPs, memory and seconds
prepacked      convolutions and linear layers on a CPU
method         the plugin `syncdiff`
probe          latents for the variance probe (Table 4)
latents        trainings on cached latents: SyncDiff's and DiffTalk's
training, autoencoder_training          the training tasks
compvis, checkpoints                    official checkpoints in and out
"""
