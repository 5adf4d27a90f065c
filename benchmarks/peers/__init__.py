"""The parts of ``benchmarks/peers.py``: one worker a peer, and what starts, compares and tabulates them.

A module named like a peer runs in that peer's own environment; `latentext` and `latentext_vllm` are our own rows.
"""
