"""A run: plan, generate, score, summarise. Every arrow between the stages is a file of the run directory.

* `plan`: what the command line asks for, resolved into one plan per method;
* `records`: the lines of the two journals; `manifest`: run.json, the identity of a run and all that repeats it;
* `directory`: the run directory, opened for writing; `load_run` for readers; `lines`: its journals, row by row;
* `settled`: whether anything is left to do in it, told by run.json alone;
* `sources`: the clips and videos that the stages work on;
* `generating`, `scoring`, `summary`: the stages; killing one at any instant and starting it again changes nothing;
* `progress`, `ranks`: what a stage tells while it works, and the processes that share one.
"""
