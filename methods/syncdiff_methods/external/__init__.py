"""Any program as a method: one process per clip, in a private folder. docs/external.md is the guide.

process        one process: its own group, a time limit, its output kept
program        the base of every method that is another program: files in, process, one video out
method         `external`, and the TOML file that describes a program
"""
