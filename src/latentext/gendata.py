"""``python -m latentext.gendata``: the command line of MAP's gendata; it lives in `latentext.compat.map_gendata`."""

from latentext.compat.map_gendata import TextGeneration, main

__all__ = ["TextGeneration", "main"]

if __name__ == "__main__":
    main()
