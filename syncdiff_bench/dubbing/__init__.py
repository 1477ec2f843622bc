"""A face that speaks: a photo or a video, and any sound, to a video that every player shows (docs/dub.md)."""
