# Copyright (c) mmconvnext contributors. SPDX-License-Identifier: Apache-2.0
"""ConvNeXt as other packages compute it: their order of operations, on our parameters.

mmpretrain, timm and Meta's code cannot be installed with a CPU-only torch (torchvision), so their
operations are reproduced here, for V1 and V2, with their memory layouts. transformers is imported.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Peer(nn.Module):
    """One of our networks, computed in another order; ``drop_path`` as in its blocks."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = []
        for i, (downsample, stage) in enumerate(
            zip(self.model.downsample_layers, self.model.stages)
        ):
            if i == 0:
                x = self.norm(downsample[0](x), downsample[1])
            else:
                x = downsample[1](self.norm(x, downsample[0]))
            for block in stage:
                x = self.block(x, block)
            maps.append(self.norm(x, getattr(self.model, f'norm{i}')))
        return maps

    def branch(self, x: Tensor, block: nn.Module) -> Tensor:
        x = block.dwconv(x).permute(0, 2, 3, 1)
        x = F.layer_norm(x, x.shape[-1:], block.norm.weight, block.norm.bias, block.norm.eps)
        x = F.gelu(block.pwconv1(x))
        if block.grn is not None:  # ConvNeXt-V2, models/utils.py
            norms = torch.norm(x, p=2, dim=(1, 2), keepdim=True)
            x = block.grn.gamma * (x * (norms / (norms.mean(-1, keepdim=True) + 1e-6))) + (
                block.grn.beta + x
            )
        x = block.pwconv2(x)
        return self.scale(x, block).permute(0, 3, 1, 2)

    def scale(self, x: Tensor, block: nn.Module) -> Tensor:
        return x if block.gamma is None else block.gamma * x

    def drop_path(self, x: Tensor, block: nn.Module) -> Tensor:
        """mmcv and timm alike: every sample's branch is computed, then multiplied."""
        if not block.drop_path.active:
            return x
        keep = 1 - block.drop_path.rate
        mask = torch.rand(len(x), 1, 1, 1, dtype=x.dtype, device=x.device).add_(keep).floor_()
        return x.div(keep) * mask


class Mmpretrain(Peer):
    """Norms between the stages go back to contiguous NCHW; the shortcut comes first."""

    def norm(self, x: Tensor, norm: nn.Module) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], norm.weight, norm.bias, norm.eps)
        return x.permute(0, 3, 1, 2).contiguous()

    def block(self, x: Tensor, block: nn.Module) -> Tensor:
        return x + self.drop_path(self.branch(x, block), block)


class Meta(Mmpretrain):
    """The same blocks; the norms between the stages are written out."""

    def norm(self, x: Tensor, norm: nn.Module) -> Tensor:
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + norm.eps)
        return norm.weight[:, None, None] * x + norm.bias[:, None, None]


class Timm(Peer):
    """Views instead of copies, and the branch before the shortcut: all becomes channels-last."""

    def norm(self, x: Tensor, norm: nn.Module) -> Tensor:
        x = F.layer_norm(x.permute(0, 2, 3, 1), x.shape[1:2], norm.weight, norm.bias, norm.eps)
        return x.permute(0, 3, 1, 2)

    def scale(self, x: Tensor, block: nn.Module) -> Tensor:
        return x

    def block(self, x: Tensor, block: nn.Module) -> Tensor:
        branch = self.branch(x, block)
        if block.gamma is not None:
            branch = branch.mul(block.gamma.reshape(1, -1, 1, 1))
        return self.drop_path(branch, block) + x


def transformers_backbone(version: str, depths: tuple, channels: tuple, rate: float) -> nn.Module:
    """ConvNextBackbone of transformers, random weights; returns a module of image -> maps."""
    import transformers

    prefix = 'ConvNextV2' if version == 'v2' else 'ConvNext'
    config = getattr(transformers, f'{prefix}Config')(
        hidden_sizes=list(channels),
        depths=list(depths),
        drop_path_rate=rate,
        layer_scale_init_value=1.0,
        out_features=['stage1', 'stage2', 'stage3', 'stage4'],
    )
    backbone = getattr(transformers, f'{prefix}Backbone')(config)

    class Maps(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = backbone

        def forward(self, x: Tensor) -> tuple:
            return self.backbone(x).feature_maps

    return Maps()
