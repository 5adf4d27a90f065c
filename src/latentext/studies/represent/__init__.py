"""Text as treatment: for each text one vector from inside the model that wrote it (or repeated it).

`extract` makes the texts and the files, `fidelity` tells how faithful the repeats are, `segments` cuts states at
sentence ends for dynamic designs, `components` shortens the vectors. The guide is docs/represent.md.
"""
