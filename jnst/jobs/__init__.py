"""One picture from files to files: what is asked for, the run, what is written, going on with it."""
