"""Faces: boxes and landmarks, given, guessed or detected, one per frame; detectors, and their cache on disk."""
