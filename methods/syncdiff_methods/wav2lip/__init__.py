"""Wav2Lip (Prajwal et al. 2020; docs/spec/wav2lip.md): the mouth of every frame redrawn from 0.2 s of audio."""
