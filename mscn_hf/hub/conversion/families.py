# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The published checkpoints that `mscn-hf convert` understands, and what a card has to say of each family."""

from dataclasses import dataclass

from .files import CheckpointError


@dataclass(frozen=True)
class Family:
    """One method whose authors published weights, or one library that trains many.

    Args:
        name: key in FAMILIES, and the word on the command line.
        title: the method's name as its authors write it.
        paper: address of the paper.
        license: the weights' licence by the Hub's identifier, read with care: a repository's licence that forbids
            commercial use is taken for that of the weights that it publishes; a permissive one only where its authors
            put the whole project or the weights under it; None otherwise, and for libraries, whose licence says
            nothing of what others train with them.
        source: address of the repository or page that published the weights.
        note: a sentence or two for the card, on licence, training or input.
        without_labels: whether all weights of this family were trained without labels.
    """

    name: str
    title: str
    paper: str
    license: str | None
    source: str
    note: str
    without_labels: bool = True


NON_COMMERCIAL = (
    "The authors' repository was published under CC BY-NC 4.0: no commercial use, unless it says otherwise by now."
)

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            name="relicv2",
            title="ReLICv2",
            paper="https://arxiv.org/abs/2201.05119",
            license="cc-by-4.0",
            source="https://github.com/google-deepmind/relicv2",
            note="Published by DeepMind, who place all materials other than software under CC BY 4.0: copies and "
            "changed versions must name the authors.",
        ),
        Family(
            name="byol",
            title="BYOL",
            paper="https://arxiv.org/abs/2006.07733",
            license=None,
            source="https://github.com/google-deepmind/deepmind-research/tree/master/byol",
            note="Published by DeepMind. The repository is under Apache-2.0; nothing there states a licence for the "
            "weights themselves.",
        ),
        Family(
            name="moco",
            title="MoCo",
            paper="https://arxiv.org/abs/1911.05722",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/moco",
            note=NON_COMMERCIAL,
        ),
        Family(
            name="mocov2",
            title="MoCo v2",
            paper="https://arxiv.org/abs/2003.04297",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/moco",
            note=NON_COMMERCIAL,
        ),
        Family(
            name="mocov3",
            title="MoCo v3",
            paper="https://arxiv.org/abs/2104.02057",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/moco-v3",
            note=NON_COMMERCIAL,
        ),
        Family(
            name="simsiam",
            title="SimSiam",
            paper="https://arxiv.org/abs/2011.10566",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/simsiam",
            note=NON_COMMERCIAL,
        ),
        Family(
            name="swav",
            title="SwAV",
            paper="https://arxiv.org/abs/2006.09882",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/swav",
            note=f"{NON_COMMERCIAL} Its images are normalised with 0.228, not 0.229, as the first channel's "
            "deviation.",
        ),
        Family(
            name="dino",
            title="DINO",
            paper="https://arxiv.org/abs/2104.14294",
            license="apache-2.0",
            source="https://github.com/facebookresearch/dino",
            note="The authors say that the repository's licence, Apache-2.0, covers the weights.",
        ),
        Family(
            name="barlow_twins",
            title="Barlow Twins",
            paper="https://arxiv.org/abs/2103.03230",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/barlowtwins",
            note=NON_COMMERCIAL,
        ),
        Family(
            name="vicreg",
            title="VICReg",
            paper="https://arxiv.org/abs/2105.04906",
            license="mit",
            source="https://github.com/facebookresearch/vicreg",
            note="The authors put their whole project under the MIT licence and say that it allows commercial use.",
        ),
        Family(
            name="vissl",
            title="VISSL",
            paper="https://github.com/facebookresearch/vissl",
            license=None,
            source="https://github.com/facebookresearch/vissl",
            note="VISSL trains many methods, with labels too; which one made these weights does not stand in the "
            "file. VISSL itself is under the MIT licence.",
            without_labels=False,
        ),
        Family(
            name="solo_learn",
            title="solo-learn",
            paper="https://arxiv.org/abs/2108.01775",
            license=None,
            source="https://github.com/vturrisi/solo-learn",
            note="solo-learn trains many methods; which one made these weights does not stand in the file.",
        ),
        Family(
            name="lightly",
            title="Lightly",
            paper="https://github.com/lightly-ai/lightly",
            license=None,
            source="https://github.com/lightly-ai/lightly",
            note="Lightly trains many methods; which one made these weights does not stand in the file.",
        ),
        Family(
            name="torchvision",
            title="torchvision's ResNet",
            paper="https://arxiv.org/abs/1512.03385",
            license=None,
            source="https://github.com/pytorch/vision",
            note="Trained with labels. torchvision's code is under BSD-3-Clause; the weights may have terms of their "
            "own.",
            without_labels=False,
        ),
        Family(
            name="timm",
            title="timm's ResNet",
            paper="https://arxiv.org/abs/2110.00476",
            license=None,
            source="https://github.com/huggingface/pytorch-image-models",
            note="The licence of each of timm's weights stands on its page on the Hub.",
            without_labels=False,
        ),
        Family(
            name="resnet",
            title="a ResNet",
            paper="https://arxiv.org/abs/1512.03385",
            license=None,
            source="",
            note="How and by whom the weights were trained does not stand in the file.",
            without_labels=False,
        ),
        Family(
            name="msn",
            title="MSN (Masked Siamese Networks)",
            paper="https://arxiv.org/abs/2204.07141",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/msn",
            note=NON_COMMERCIAL,
        ),
    )
}


def refuse_unknown_family(name: str | None) -> None:
    """Raises CheckpointError unless `name` is None or a key in FAMILIES."""
    if name is not None and name not in FAMILIES:
        raise CheckpointError(f"there is no family {name!r}; known are {', '.join(sorted(FAMILIES))}")


def choose_family(named: str | None, shown: str, *, certain: bool, checkpoint: str, sign: str) -> Family:
    """The family of a checkpoint's weights, whose paper and licence its card gives.

    Args:
        named: key in FAMILIES that the caller gave; None: the one that the file shows.
        shown: key in FAMILIES that the file's layout shows.
        certain: whether weights of no other family have this layout.
        checkpoint: name of the file, for the message.
        sign: what shows the family, for the message.

    Raises:
        CheckpointError: the family named is another than the one that the file shows for certain.
    """
    if certain and named not in (None, shown):
        raise CheckpointError(
            f"{checkpoint} is of the family {shown!r} ({sign}), and the card would give it the paper and licence of "
            f"{named!r}; name {shown!r}, or leave the family out"
        )
    return FAMILIES[named or shown]
