"""A run: plan, generate, score, summarise, print. Every arrow between the stages is a file of the run
directory.

* `plan`: what the command line asks for, resolved into one plan per method;
* `manifest`: run.json, the identity of a run and everything needed to repeat it;
* `directory`: the run directory and its append-only journals; `load_run` for readers;
* `generating`, `scoring`, `summary`: the stages; killing one at any instant and starting it again changes
nothing;
"""
