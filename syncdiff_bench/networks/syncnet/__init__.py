"""SyncNet: the audio-visual synchronisation network behind LSE-C and LSE-D (reference: metrics.md A.1)."""
