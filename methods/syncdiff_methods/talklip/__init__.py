"""TalkLip (Wang et al. 2023; docs/spec/talklip.md): Wav2Lip's face half, led by AV-HuBERT's audio features.

network     the generator on this project's AV-HuBERT, under the published names
method      the plugin `talklip`: inference as the official `inf_test.py`
"""
