# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The published checkpoints that `mscn-hf convert` understands, and what a card has to say of each family."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Family:
    """One method whose authors published weights.

    Args:
        name: key in FAMILIES, and the word on the command line.
        title: the method's name as its authors write it.
        paper: address of the paper.
        license: the weights' licence by the Hub's identifier; None where the authors state none.
        source: address of the repository or page that published the weights.
        note: a sentence or two for the card, on licence, training or input.
    """

    name: str
    title: str
    paper: str
    license: str | None
    source: str
    note: str


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
            note="The authors' repository is under CC BY-NC 4.0: no commercial use.",
        ),
        Family(
            name="mocov2",
            title="MoCo v2",
            paper="https://arxiv.org/abs/2003.04297",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/moco",
            note="The authors' repository is under CC BY-NC 4.0: no commercial use.",
        ),
        Family(
            name="mocov3",
            title="MoCo v3",
            paper="https://arxiv.org/abs/2104.02057",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/moco-v3",
            note="The authors' repository is under CC BY-NC 4.0: no commercial use.",
        ),
        Family(
            name="simsiam",
            title="SimSiam",
            paper="https://arxiv.org/abs/2011.10566",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/simsiam",
            note="The authors' repository is under CC BY-NC 4.0: no commercial use.",
        ),
        Family(
            name="swav",
            title="SwAV",
            paper="https://arxiv.org/abs/2006.09882",
            license="cc-by-nc-4.0",
            source="https://github.com/facebookresearch/swav",
            note="The authors' repository is under CC BY-NC 4.0: no commercial use. Its images are normalised with "
            "0.228, not 0.229, as the first channel's deviation.",
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
            license=None,
            source="https://github.com/facebookresearch/barlowtwins",
            note="The repository's licence was CC BY-NC 4.0 at first; look there for the present one before you "
            "publish.",
        ),
        Family(
            name="vicreg",
            title="VICReg",
            paper="https://arxiv.org/abs/2105.04906",
            license=None,
            source="https://github.com/facebookresearch/vicreg",
            note="The repository's README names the MIT licence; look there before you publish.",
        ),
        Family(
            name="vissl",
            title="VISSL",
            paper="https://github.com/facebookresearch/vissl",
            license="mit",
            source="https://github.com/facebookresearch/vissl",
            note="VISSL trains many methods; which one made these weights does not stand in the file.",
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
        ),
        Family(
            name="timm",
            title="timm's ResNet",
            paper="https://arxiv.org/abs/2110.00476",
            license=None,
            source="https://github.com/huggingface/pytorch-image-models",
            note="The licence of each of timm's weights stands on its page on the Hub.",
        ),
        Family(
            name="resnet",
            title="a ResNet",
            paper="https://arxiv.org/abs/1512.03385",
            license=None,
            source="",
            note="How and by whom the weights were trained does not stand in the file.",
        ),
        Family(
            name="msn",
            title="MSN (Masked Siamese Networks)",
            paper="https://arxiv.org/abs/2204.07141",
            license=None,
            source="https://github.com/facebookresearch/msn",
            note="Look up the licence in the authors' repository before you publish.",
        ),
    )
}
