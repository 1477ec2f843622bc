"""SyncNet: the audio-visual synchronisation network behind LSE-C and LSE-D (docs/spec/lse.md#network)."""
