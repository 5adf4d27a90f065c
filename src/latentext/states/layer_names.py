"""What a site is called where people read: its number in Hugging Face's ``hidden_states``, then its name.

Files, options and tensors keep the short names (``resid_post.7``). Who asked for layer 8 must find it again in tables,
pictures and messages, so those show both. Every such name is made here.
"""

from __future__ import annotations

LAST_BLOCK = "last block"
"""In place of a number: Hugging Face's last hidden state is after the norm, so this output has no index."""


def site_label(site: str, layer: int | None) -> str:
    """The name of a site for people.

    Args:
        site: its name in files.
        layer: its index in ``hidden_states``; None for the last block before the norm, which has none.

    Example:
        >>> site_label("resid_post.7", 8), site_label("embed", 0), site_label("resid_post.29", None)
        ('layer 8, resid_post.7', 'layer 0, embed', 'last block, resid_post.29')
    """
    return f"{LAST_BLOCK if layer is None else f'layer {layer}'}, {site}"


def listed(labels: list[str] | tuple[str, ...]) -> str:
    """Several names in one sentence; they hold commas, so semicolons part them.

    Example:
        >>> listed(["layer 0, embed", "layer 30, final_norm"])
        'layer 0, embed; layer 30, final_norm'
    """
    return "; ".join(labels)
