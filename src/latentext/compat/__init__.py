"""Function names of other tools, for scripts that were written for them: one thin module per tool.

`length_prediction`, `gpi_pack` and `map_gendata` hold the names. Nothing in latentext imports from here, besides the
old names of the package itself.
"""
