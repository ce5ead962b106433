# Copyright 2026 The mscn-hf authors. SPDX-License-Identifier: Apache-2.0
"""timm networks inside transformers models: timm's own initial weights, and unsaved buffers that survive loading."""

import difflib

import torch
from torch import nn
from transformers import TimmWrapperConfig, TimmWrapperModel
from transformers import initialization as init
from transformers.models.timm_wrapper import modeling_timm_wrapper
from transformers.utils import requires_backends


def check_architecture(architecture: str) -> None:
    """Raise ValueError for a name that timm does not know, naming the nearest one."""
    requires_backends(check_architecture, ["timm", "vision"])
    timm = modeling_timm_wrapper.timm
    name, _, tag = architecture.partition(".")
    if not timm.is_model(name):
        nearest = difflib.get_close_matches(name, timm.list_models(), n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"timm {timm.__version__} has no model {name!r}{hint}")
    if tag:
        raise ValueError(
            f"{architecture!r} names published weights, but an architecture has new ones: leave out {'.' + tag!r}"
        )


class TimmEncoder(TimmWrapperModel):
    """transformers' wrapper of a timm network, without its new draw of all weights from N(0, 0.02^2).

    The state dict is the wrapper's: timm's names behind `timm_model.`.
    """

    _from_meta = False

    def __init__(self, config: TimmWrapperConfig):
        super().__init__(config)
        # So builds from_pretrained; afterwards it asks _init_weights for whatever the checkpoint did not hold.
        self._from_meta = any(parameter.is_meta for parameter in self.parameters())

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        """Take from a newly made network what was not loaded: buffers that are not saved, and missing weights.

        timm sets weights and buffers where it makes its layers, so there is nothing to do for a network that was made
        on a real device.
        """
        if not self._from_meta:
            return
        self._from_meta = False
        unset = {
            name: tensor
            for name, tensor in (*self.named_parameters(), *self.named_buffers())
            if not getattr(tensor, "_is_hf_initialized", False)
        }
        if unset:
            made = type(self)(self.config)
            values = {**dict(made.named_parameters()), **dict(made.named_buffers())}
            for name, tensor in unset.items():
                init.copy_(tensor, values[name])
