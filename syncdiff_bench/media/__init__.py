"""Video files in, `Media` out, and back, by PyAV: no ffmpeg program is needed."""
