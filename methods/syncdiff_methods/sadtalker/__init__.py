"""SadTalker, by the user's own checkout in the user's own environment (docs/spec/sadtalker.md).

checkout   what a checkout must hold, told before anything runs
method     the method
"""
