"""Any program as a method: one process per clip, in a private folder. docs/external.md is the guide.

template       the TOML file that describes a program
clip_files     a clip as the files that programs read
process        one process: its own group, a time limit, its output kept
result         the one video that came out, brought to the clip's frames
adapter        the base of every method that is another program
method         `external`
"""
