"""Pictures of regions: scores as colours over an image, a map in grey, and frames around what was chosen."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

WHITE, RED = (1.0, 1.0, 1.0), (1.0, -1.0, -1.0)


def attention_picture(image: Tensor, scores: Tensor, regions: Tensor) -> Tensor:
    """Lay scores (1, h, w), blue to red, over an image (1, C, H, W) and frame the regions (1, K) in white."""
    size = image.shape[2:]
    level = 4 * heat(scores, size)
    colours = torch.cat([1.5 - (level - peak).abs() for peak in (3, 2, 1)], 1).clamp(0, 1) * 2 - 1
    rgb = image.expand(-1, 3, -1, -1) if image.shape[1] == 1 else image[:, :3]
    return frame((rgb + colours) / 2, regions, scores.shape[1:], WHITE)


def similarity_picture(similarity: Tensor, region: Tensor, size: torch.Size) -> Tensor:
    """Show similarities (1, h, w) in grey, white the highest, in a picture of `size`; frame the region (1, 1) in red."""
    grey = heat(similarity, size).expand(-1, 3, -1, -1) * 2 - 1
    return frame(grey, region, similarity.shape[1:], RED)


def heat(scores: Tensor, size: torch.Size) -> Tensor:
    """Stretch scores (1, h, w) over [0, 1] and enlarge them to (1, 1, *size)."""
    low, high = scores.min(), scores.max()
    level = (scores - low) / (high - low).clamp_min(1e-12)
    return F.interpolate(level[:, None], size=size, mode="nearest")


def frame(picture: Tensor, regions: Tensor, cells: torch.Size, colour: tuple[float, float, float]) -> Tensor:
    """Outline regions (1, K), positions of a grid of `cells`, by one pixel of a colour in [-1, 1]."""
    chosen = picture.new_zeros(1, cells.numel()).scatter(1, regions, 1.0).view(1, 1, *cells)
    chosen = F.interpolate(chosen, size=picture.shape[2:], mode="nearest")
    inside = -F.max_pool2d(-F.pad(chosen, (1, 1, 1, 1)), 3, stride=1)
    edge = (chosen - inside).bool()
    return torch.where(edge, picture.new_tensor(colour).view(1, 3, 1, 1), picture)
