# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""Networks in Haiku with the names of DeepMind's, and checkpoints as their programs save them."""

from typing import Any, NamedTuple

import dill
import haiku as hk
import jax
import jax.numpy as jnp
import numpy as np
from haiku.data_structures import to_immutable_dict

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class _ByolExperimentState(NamedTuple):
    """BYOL's state has these fields; dill writes such a class by its fields."""

    online_params: Any
    target_params: Any
    online_state: Any
    target_state: Any
    opt_state: Any


class ScaleByLarsState(NamedTuple):
    mu: Any


class ResNet(hk.Module):
    """A ResNet v1 without classifier; the name of a subclass is what stands in front of every module."""

    def __init__(self, blocks, channels, stem=64, bottleneck=True, name=None):
        super().__init__(name=name)
        norm = {"decay_rate": 0.9, "eps": 1e-5, "create_scale": True, "create_offset": True}
        self.initial_conv = hk.Conv2D(
            stem, kernel_shape=7, stride=2, with_bias=False, padding="SAME", name="initial_conv"
        )
        self.initial_batchnorm = hk.BatchNorm(name="initial_batchnorm", **norm)
        self.groups = [
            hk.nets.ResNet.BlockGroup(
                channels=channels[group],
                num_blocks=blocks[group],
                stride=1 if group == 0 else 2,
                bn_config=norm,
                resnet_v2=False,
                bottleneck=bottleneck,
                use_projection=True,
                name=f"block_group_{group}",
            )
            for group in range(len(blocks))
        ]

    def __call__(self, images_BHWC, is_training):
        out = self.initial_conv(images_BHWC)
        out = jax.nn.relu(self.initial_batchnorm(out, is_training, False))
        out = hk.max_pool(out, window_shape=(1, 3, 3, 1), strides=(1, 2, 2, 1), padding="SAME")
        for group in self.groups:
            out = group(out, is_training, False)
        return jnp.mean(out, axis=(1, 2))


class ResNet50(ResNet):
    pass


class ResNet200(ResNet):
    pass


class TinyResNet(ResNet):
    pass


class MLP(hk.Module):
    """Projector and predictor, which a converter has to leave behind."""

    def __call__(self, inputs_BD, is_training):
        out = hk.BatchNorm(True, True, 0.9)(hk.Linear(8)(inputs_BD), is_training)
        return hk.Linear(4, with_bias=False)(jax.nn.relu(out))


def network(encoder_class, **sizes):
    """The whole online network as a pair of init and apply; apply returns the encoder's features (B, D)."""

    def forward(images_BHWC, is_training):
        encoder = encoder_class(**sizes)
        projector, predictor, classifier = MLP("projector"), MLP("predictor"), hk.Linear(10, name="classifier")
        features_BD = encoder(images_BHWC, is_training)
        predictor(projector(features_BD, is_training), is_training)
        classifier(features_BD)
        return features_BD

    return hk.without_apply_rng(hk.transform_with_state(forward))


def random_trees(net, seed=0, size=32):
    """Parameters and state as after some training: He-scaled kernels, and batch statistics like nothing at the start.

    `hidden` is another number than `average`, as it is in the first steps of training.
    """
    rng = np.random.default_rng(seed)
    images = jax.ShapeDtypeStruct((1, size, size, 3), np.float32)
    params, state = jax.eval_shape(lambda x: net.init(jax.random.PRNGKey(0), x, True), images)

    def fill(module, name, leaf):
        noise = rng.standard_normal(leaf.shape).astype(np.float32)
        if name == "counter":
            return np.asarray(7, np.int32)
        if name == "w":
            return noise * np.float32(np.sqrt(2 / np.prod(leaf.shape[:-1])))
        if name == "average" and "var_ema" in module:
            return np.float32(0.5) + np.abs(noise)
        if name == "scale":  # below 1, or features grow beyond all bounds in 66 blocks
            return np.float32(0.4) + np.float32(0.3) * np.abs(noise)
        return noise * np.float32(0.3)

    def tree(shapes):
        return {m: {n: fill(m, n, leaf) for n, leaf in leaves.items()} for m, leaves in shapes.items()}

    return tree(params), tree(state)


def images(count, size, seed=1):
    """Normalised images (B, H, W, C) of a pattern and noise."""
    raw = np.random.default_rng(seed).random((count, size, size, 3), np.float32)
    return (raw - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)


def save_relicv2(path, params, state, replicas=0, immutable=True):
    """As ReLICv2's program saves: dill, protocol 2, the experiment's state a dict, the generator's key a jax array."""
    if replicas:
        params, state = jax.tree.map(lambda x: np.stack([x] * replicas), (params, state))
    kind = to_immutable_dict if immutable else dict
    experiment = {"online_params": kind(params), "online_state": kind(state), "opt_state": (ScaleByLarsState(params),)}
    with path.open("wb") as file:
        dill.dump({"experiment_state": experiment, "step": 3, "rng": jax.random.PRNGKey(1)}, file, protocol=2)
    return path


def save_byol(path, params, state, target_params, target_state, nested=True):
    """As BYOL's program saves: the experiment's state is a named tuple."""
    experiment = _ByolExperimentState(
        online_params=to_immutable_dict(params),
        target_params=to_immutable_dict(target_params),
        online_state=to_immutable_dict(state),
        target_state=to_immutable_dict(target_state),
        opt_state=[ScaleByLarsState(mu={"w": np.ones(3, np.float32)})],
    )
    saved = {"experiment_state": experiment, "step": np.int32(4), "rng": jax.random.PRNGKey(1)}
    with path.open("wb") as file:
        dill.dump(saved if nested else experiment, file, protocol=2)
    return path
