"""The features that perceptual losses compare."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from util.backbones import BACKBONES, PERCEPTUAL, backbone_layers, refuse_small, tapped

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class PerceptualFeatures(nn.Module):
    """Turn images (B, 3, H, W) in [-1, 1] into the feature maps at four taps of a frozen network, shallow to deep."""

    def __init__(self, network: str = "vgg16", weights: str = "imagenet", normalize: bool = False) -> None:
        super().__init__()
        self.backbone = BACKBONES[network]
        self.layers = backbone_layers(network, weights)
        # as published, the images go in as (x + 1) / 2 without ImageNet's mean and deviation
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if normalize else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features at the four taps."""
        refuse_small(images.shape[2:], self.backbone, PERCEPTUAL)
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)
        return tapped(self.layers, self.backbone.taps, ((images + 1) / 2 - self.mean) / self.std)
