"""Names of sites and Hugging Face's numbers for them."""

from __future__ import annotations

import pytest

from latentext.errors import SpecError
from latentext.states.sites import all_sites, index_of, resolve_sites, site_at


def test_names_and_numbers_are_each_others_inverse() -> None:
    for blocks in (1, 2, 12):
        names = all_sites(blocks)
        assert len(names) == blocks + 1
        assert [index_of(name, blocks) for name in names] == list(range(blocks + 1))
        assert [site_at(k - blocks - 1, blocks) for k in range(blocks + 1)] == list(names)


def test_the_last_block_has_a_name_and_no_number() -> None:
    assert resolve_sites(["resid_post.2"], 3) == ("resid_post.2",)
    assert index_of("resid_post.2", 3) is None


def test_a_site_asked_twice_is_kept_once_in_the_order_asked() -> None:
    assert resolve_sites([-1, "0", "final_norm", "embed", 1], 3) == ("final_norm", "embed", "resid_post.0")
    assert resolve_sites(["final_norm", "all"], 2) == ("final_norm", "embed", "resid_post.0")


@pytest.mark.parametrize("site", [4, -5, "4", "resid_post.3", "resid_post.-1", "resid_post.01", "Embed", "", "norm"])
def test_a_site_that_the_model_lacks_is_refused(site: str | int) -> None:
    with pytest.raises(SpecError, match=r"states\.sites"):
        resolve_sites([site], 3)
