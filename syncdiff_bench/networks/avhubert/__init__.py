"""AV-HuBERT in plain PyTorch: audio features, audio-visual encoder, text decoder, beam search.

One implementation for three users: audio encoder of SyncDiff, audio encoder of TalkLip, VSR model behind
WER.
"""
