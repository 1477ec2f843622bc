"""Wav2Lip (Prajwal et al. 2020; docs/spec/wav2lip.md): the mouth of every frame redrawn from 0.2 s of audio.

generator   face encoder and decoder (TalkLip's too), audio encoder, under the published names
mel         audio -> mel spectrogram -> one window per frame
faces       boxes, crops, and pasting back
inference   frames of many clips in one batch
checkpoint  published files and small folders of this project
method      the plugin `wav2lip`, and what TalkLip's shares with it
training    a small one on any dataset, beside its own sync expert
"""
