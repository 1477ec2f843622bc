"""TalkLip (Wang et al. 2023; docs/spec/talklip.md): Wav2Lip's face half, led by AV-HuBERT's audio features."""
