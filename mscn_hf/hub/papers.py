# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""The papers behind methods and architectures, as BibTeX and as links."""

PAPERS = {
    "mscn": """\
@article{jing2022masked,
  title   = {Masked Siamese ConvNets},
  author  = {Jing, Li and Zhu, Jiachen and LeCun, Yann},
  journal = {arXiv preprint arXiv:2206.07700},
  year    = {2022}
}""",
    "relicv2": """\
@article{tomasev2022pushing,
  title   = {Pushing the limits of self-supervised ResNets:
             Can we outperform supervised learning without labels on ImageNet?},
  author  = {Tomasev, Nenad and Bica, Ioana and McWilliams, Brian and Buesing, Lars and
             Pascanu, Razvan and Blundell, Charles and Mitrovic, Jovana},
  journal = {arXiv preprint arXiv:2201.05119},
  year    = {2022}
}""",
    "simclr": """\
@inproceedings{chen2020simple,
  title     = {A Simple Framework for Contrastive Learning of Visual Representations},
  author    = {Chen, Ting and Kornblith, Simon and Norouzi, Mohammad and Hinton, Geoffrey},
  booktitle = {International Conference on Machine Learning},
  year      = {2020},
  note      = {arXiv:2002.05709}
}""",
    "byol": """\
@inproceedings{grill2020bootstrap,
  title     = {Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning},
  author    = {Grill, Jean-Bastien and Strub, Florian and Altch\\'e, Florent and others},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2020},
  note      = {arXiv:2006.07733}
}""",
    "relic": """\
@inproceedings{mitrovic2021representation,
  title     = {Representation Learning via Invariant Causal Mechanisms},
  author    = {Mitrovic, Jovana and McWilliams, Brian and Walker, Jacob and Buesing, Lars and Blundell, Charles},
  booktitle = {International Conference on Learning Representations},
  year      = {2021},
  note      = {arXiv:2010.07922}
}""",
    "msn": """\
@inproceedings{assran2022masked,
  title     = {Masked Siamese Networks for Label-Efficient Learning},
  author    = {Assran, Mahmoud and Caron, Mathilde and Misra, Ishan and Bojanowski, Piotr and Bordes, Florian and
               Vincent, Pascal and Joulin, Armand and Rabbat, Michael and Ballas, Nicolas},
  booktitle = {European Conference on Computer Vision},
  year      = {2022},
  note      = {arXiv:2204.07141}
}""",
    "vicreg": """\
@inproceedings{bardes2022vicreg,
  title     = {VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning},
  author    = {Bardes, Adrien and Ponce, Jean and LeCun, Yann},
  booktitle = {International Conference on Learning Representations},
  year      = {2022},
  note      = {arXiv:2105.04906}
}""",
    "barlow": """\
@inproceedings{zbontar2021barlow,
  title     = {Barlow Twins: Self-Supervised Learning via Redundancy Reduction},
  author    = {Zbontar, Jure and Jing, Li and Misra, Ishan and LeCun, Yann and Deny, Stephane},
  booktitle = {International Conference on Machine Learning},
  year      = {2021},
  note      = {arXiv:2103.03230}
}""",
}  # fmt: skip
TITLES = {
    "mscn": "[Masked Siamese ConvNets](https://arxiv.org/abs/2206.07700)",
    "relicv2": "[ReLICv2](https://arxiv.org/abs/2201.05119)",
    "simclr": "[SimCLR](https://arxiv.org/abs/2002.05709)",
    "byol": "[BYOL](https://arxiv.org/abs/2006.07733)",
    "relic": "[ReLIC](https://arxiv.org/abs/2010.07922)",
    "msn": "[Masked Siamese Networks](https://arxiv.org/abs/2204.07141)",
    "vicreg": "[VICReg](https://arxiv.org/abs/2105.04906)",
    "barlow": "[Barlow Twins](https://arxiv.org/abs/2103.03230)",
}


def papers_of(method: str, model_type: str = "") -> list[str]:
    """Keys of the papers whose name is a part of a method's name ("mscn_byol": two), or a model type."""
    words = {*method.lower().replace("-", "_").split("_"), model_type}
    return [key for key in PAPERS if key in words]
