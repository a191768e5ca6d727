"""The history of generated images from which a discriminator is fed (Shrivastava et al., CVPR 2017, Sec. 2.3)."""

from __future__ import annotations

import random
from typing import Any

import torch
from torch import Tensor


class ImagePool:
    """Hold up to `pool_size` images; a query hands back a new or an old image, each with probability one half."""

    def __init__(self, pool_size: int, seed: int = 0) -> None:
        self.pool_size = pool_size
        self.images: list[Tensor] = []
        self.random = random.Random(
            seed
        )  # the pool's own, so that nothing else disturbs it and a resume can restore it

    def query(self, images: Tensor) -> Tensor:
        """Return (B, C, H, W) images of which some may be older than those given; all are detached."""
        images = images.detach()
        if self.pool_size == 0:
            return images
        chosen = []
        for image in images.split(1):
            if len(self.images) < self.pool_size:
                self.images.append(image.clone())
                chosen.append(image)
            elif self.random.random() < 0.5:
                place = self.random.randrange(self.pool_size)
                chosen.append(self.images[place])
                self.images[place] = image.clone()
            else:
                chosen.append(image)
        if any(image.shape != images[:1].shape for image in chosen):
            return images  # images of several sizes (--preprocess none): an old one can't stand in the same batch
        return torch.cat(chosen)

    def state_dict(self) -> dict[str, Any]:
        """Return the images and the state of the pool's random choices, in tensors and plain types."""
        version, numbers, gauss = self.random.getstate()
        return {"images": [i.cpu() for i in self.images], "random": [version, list(numbers), gauss]}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Take up the pool where `state_dict` left it."""
        self.images = [image.to(device) for image in state["images"]]
        version, numbers, gauss = state["random"]
        self.random.setstate((version, tuple(numbers), gauss))
