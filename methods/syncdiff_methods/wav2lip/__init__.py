"""Wav2Lip (Prajwal et al. 2020; docs/spec/wav2lip.md): the mouth of every frame redrawn from 0.2 s of sound.

config      size of the networks
blocks      convolutions under the published names
generator   face encoder and decoder (TalkLip's too), audio encoder
mel         sound -> mel spectrogram -> one window per frame
faces       boxes, crops, and pasting back
checkpoint  published files and small folders of this project
method      the plugin `wav2lip`
training    a small one on any dataset, beside its own sync expert (`expert`, `face_cache`)
"""
