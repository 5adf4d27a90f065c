"""The maker of the embedded model ``tiny``: its text, tokenizer, training loop, export and evaluation.

Nothing here is part of the installed package. The folder is shipped so that the model's whole origin can be read and
run again: every sentence it ever saw comes from the modules beside this one.
"""
