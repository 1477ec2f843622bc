"""Network weights: a catalogue of what exists, a store of what is here, the only reader of checkpoints."""
