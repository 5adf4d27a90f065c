"""The command line: parse, call, print. Nothing here decides anything that Python callers could not decide too."""
