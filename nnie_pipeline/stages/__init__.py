"""The stages of the pipeline: each a function from files to files, run alone or by `nnie run`."""
