"""What ships of each kind of base: an artifact that opens again with the same vectors and knows what it began as."""

from pathlib import Path

import numpy as np
import pytest

from shoptalk.nn.bases import began_as, kind_of, open_base
from shoptalk.nn.digests import base_digest
from shoptalk.stages.ship import encoder_stage


@pytest.mark.parametrize("ref", ["scratch:resnet-mini", "scratch:vit-nano@64", "hog", "pixels@64", "pair"])
def test_an_encoder_of_every_kind_ships(ref: str, tiny_base: Path, tmp_path: Path) -> None:
    ref = f"scratch:resnet-mini+{tiny_base}" if ref == "pair" else ref
    parents, cards = {"base": base_digest(ref)}, {"README.md": "# What ships\n"}
    artifact = encoder_stage(ref, tmp_path / "encoder", parents=parents, cards=cards)
    assert {"config.json", "README.md"} <= artifact.files.keys()
    shipped, base = open_base(str(tmp_path / "encoder")), open_base(ref)
    pictures = np.random.default_rng(0).integers(0, 256, (2, base.size, base.size, 3), dtype=np.uint8)
    np.testing.assert_array_equal(shipped.embed_pixels(pictures), base.embed_pixels(pictures))
    assert shipped.kind == base.kind == kind_of(ref) and base_digest(str(tmp_path / "encoder"))
    began, shown = began_as(str(tmp_path / "encoder")), began_as(ref)
    assert (began is None) == (shown is None) and (began or "").split("+")[0] == (shown or "").split("+")[0]
    again = encoder_stage(ref, tmp_path / "encoder", parents=parents, cards=cards)
    assert again.content == artifact.content
