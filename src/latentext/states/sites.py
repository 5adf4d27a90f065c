"""Names for the places in a model where a state can be read, and how they relate to Hugging Face's numbers.

A model of n blocks has the sites ``embed`` (what enters block 0), ``resid_post.0 … resid_post.{n-1}`` (what leaves each
block) and ``final_norm`` (after the last normalisation). Hugging Face's ``hidden_states`` has n+1 entries: 0 is
``embed``, k is ``resid_post.{k-1}``, and the last, n, is ``final_norm`` – *not* the output of the last block. That
output, ``resid_post.{n-1}``, has a name here but no Hugging Face index.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from latentext.errors import SpecError
from latentext.states.layer_names import site_label

_BLOCK = re.compile(r"resid_post\.(0|[1-9]\d*)")


def all_sites(num_blocks: int) -> tuple[str, ...]:
    """Every site that has a Hugging Face index, in its order (n+1 names).

    Example:
        >>> all_sites(2)
        ('embed', 'resid_post.0', 'final_norm')
    """
    return ("embed", *(f"resid_post.{k}" for k in range(num_blocks - 1)), "final_norm")


def sites_up_to(wanted: Sequence[str], num_blocks: int, *, unnormed: bool) -> tuple[str, ...]:
    """Every site up to the deepest of `wanted`, in order of depth.

    Args:
        unnormed: whether the output of the last block, which has no Hugging Face index, can be read.

    Example:
        >>> sites_up_to(["resid_post.1"], 3, unnormed=True)
        ('embed', 'resid_post.0', 'resid_post.1')
    """
    by_depth = ["embed", *(f"resid_post.{k}" for k in range(num_blocks if unnormed else num_blocks - 1)), "final_norm"]
    return tuple(by_depth[: 1 + max(map(by_depth.index, wanted))])


def site_at(index: int, num_blocks: int) -> str:
    """The site with a Hugging Face ``hidden_states`` index; negative indices count back from ``final_norm``.

    Raises:
        SpecError: the index is out of range.

    Example:
        >>> site_at(-1, 5), site_at(0, 5), site_at(4, 5)
        ('final_norm', 'embed', 'resid_post.3')
    """
    if not -num_blocks - 1 <= index <= num_blocks:
        raise SpecError(
            f"layer {index} is out of range",
            where="states.sites",
            remedy=f"this model has the layers 0 … {num_blocks} and -1 … {-num_blocks - 1}",
        )
    return all_sites(num_blocks)[index]


def index_of(site: str, num_blocks: int) -> int | None:
    """The Hugging Face index of a site, or None for the un-normed last block, which has none."""
    sites = all_sites(num_blocks)
    return sites.index(site) if site in sites else None


def label_of(site: str, num_blocks: int) -> str:
    """What a site of this model is called where people read.

    Example:
        >>> label_of("resid_post.7", 30), label_of("resid_post.29", 30), label_of("final_norm", 30)
        ('layer 8, resid_post.7', 'last block, resid_post.29', 'layer 30, final_norm')
    """
    return site_label(site, index_of(site, num_blocks))


def block_of(site: str) -> int | None:
    """The number of the block that a ``resid_post`` site leaves, or None for the two other sites."""
    match = _BLOCK.fullmatch(site)
    return int(match[1]) if match else None


def resolve_sites(wanted: Sequence[str | int], num_blocks: int) -> tuple[str, ...]:
    """Turn names, indices and ``all`` into site names, in the order asked, each once.

    Raises:
        SpecError: a name that this model does not have.

    Example:
        >>> resolve_sites(["embed", -1, "resid_post.1"], 3)
        ('embed', 'final_norm', 'resid_post.1')
    """
    names: list[str] = []
    for site in wanted:
        if site == "all":
            names.extend(all_sites(num_blocks))
        elif isinstance(site, int) or re.fullmatch(r"-?\d+", site):
            names.append(site_at(int(site), num_blocks))
        else:
            names.append(_known(site, num_blocks))
    return tuple(dict.fromkeys(names))


def _known(site: str, num_blocks: int) -> str:
    block = block_of(site)
    if site in {"embed", "final_norm"} or (block is not None and block < num_blocks):
        return site
    raise SpecError(
        f"this model has no site {site!r}",
        where="states.sites",
        remedy=f"it has embed, resid_post.0 … resid_post.{num_blocks - 1} and final_norm",
    )
