# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
import pytest

from mscn_hf.hub.conversion.families import FAMILIES, choose_family, refuse_unknown_family
from mscn_hf.hub.conversion.files import CheckpointError

# As the authors' LICENSE or README says of the repository that published the weights.
LICENCES = {
    **dict.fromkeys(["moco", "mocov2", "mocov3", "simsiam", "swav", "barlow_twins", "msn"], "cc-by-nc-4.0"),
    "relicv2": "cc-by-4.0",
    "dino": "apache-2.0",
    "vicreg": "mit",
    # Nothing is said of weights, or others train with the library.
    **dict.fromkeys(["byol", "vissl", "solo_learn", "lightly", "torchvision", "timm", "resnet"]),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_licence_of_each_familys_weights(name):
    family = FAMILIES[name]
    assert (family.name, family.license) == (name, LICENCES[name])
    assert ("no commercial use" in family.note) == (family.license == "cc-by-nc-4.0"), "the card has to say so"


def test_a_family_is_chosen_or_refused():
    told = {"checkpoint": "x.pth", "sign": "by its names"}
    assert choose_family(None, "moco", certain=True, **told) is FAMILIES["moco"]
    assert choose_family("moco", "moco", certain=True, **told) is FAMILIES["moco"]
    assert choose_family("dino", "vissl", certain=False, **told) is FAMILIES["dino"]
    with pytest.raises(CheckpointError, match=r"x.pth is of the family 'moco' \(by its names\).*'dino'; name 'moco'"):
        choose_family("dino", "moco", certain=True, **told)
    refuse_unknown_family(None)
    with pytest.raises(CheckpointError, match="no family 'mocov9'; known are barlow_twins, byol"):
        refuse_unknown_family("mocov9")
