"""``python -m latentext`` is the same as ``latentext``."""

from latentext.cli.app import main

main()
