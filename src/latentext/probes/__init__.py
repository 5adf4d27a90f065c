"""What hidden states know of the length of their text: probes, what they must beat, and how sure the difference is.

This package reads datasets and arrays; nothing in it runs a language model (`latentext.studies.probe.probing` does).
"""
