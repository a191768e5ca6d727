"""The distillation losses as pure functions: tensors in, scalar out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.distillation.relation import image_relation_loss
from util.errors import UserError

SHORTEST = 1e-7  # of a vector that has a direction


def relation_loss(student: Tensor, teacher: Tensor, angle_weight: float = 2.0) -> Tensor:
    """Compare the pairwise distances and the angles of triplets between N elements (CRD Eq. 8-10).

    `student` is (N, D) or (B, N, D), `teacher` has the same B and N; only the student receives a gradient. Distances are
    taken over their own off-diagonal mean, and compared by Huber with delta 1 as are the cosines; means are over all N^2
    and N^3 entries and over B; the result is distance + angle_weight * angle.
    """
    if student.dim() == 2:
        student, teacher = student[None], teacher[None]
    if student.shape[:2] != teacher.shape[:2]:
        raise UserError(f"relations need as many elements of student and teacher: {student.shape} and {teacher.shape}")
    if student.shape[1] < 3:
        raise UserError(f"angles need at least 3 elements and there are {student.shape[1]}")
    pairs = zip(student, teacher, strict=True)
    return torch.stack([image_relation_loss(s, t, angle_weight) for s, t in pairs]).mean()  # CRD (1)


def content_views(images: Tensor, patch_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Slice (B, C, H, W) images into columns (B, W, C*H), rows (B, H, C*W) and patches (B, HW/p^2, C*p^2) (CRD Eq. 7)."""
    return columns(images), rows(images), patches(images, patch_size)


def columns(images: Tensor) -> Tensor:
    """Slice (B, C, H, W) into W columns: (B, W, C*H)."""
    return images.permute(0, 3, 1, 2).flatten(2)


def rows(images: Tensor) -> Tensor:
    """Slice (B, C, H, W) into H rows: (B, H, C*W)."""
    return images.permute(0, 2, 1, 3).flatten(2)


def patches(images: Tensor, size: int) -> Tensor:
    """Slice (B, C, H, W) into square patches from left to right and top to bottom: (B, HW/p^2, C*p^2)."""
    height, width = images.shape[2:]
    if size < 1 or height % size or width % size:
        raise UserError(
            f"patches of {size} pixels do not divide an image of {width}x{height}; --patch_size takes one of "
            f"{fitting_patches(height, width)}, or change --crop_size to a multiple of {size}"
        )
    return F.unfold(images, kernel_size=size, stride=size).transpose(1, 2)


def fitting_patches(height: int, width: int) -> str:
    """List the patch sizes that cut an image into at least four."""
    sizes = range(1, min(height, width) // 2 + 1)
    return ", ".join(str(size) for size in sizes if height % size == 0 and width % size == 0)


def gram_matrix(features: Tensor) -> Tensor:
    """Return (B, C, C): the channels' inner products over C*H*W, from (B, C, H, W)."""
    batch, channels, height, width = features.shape
    flat = features.reshape(batch, channels, height * width)
    return flat @ flat.transpose(1, 2) / (channels * height * width)


def discriminator_triplet(real: Tensor, teacher: Tensor, student: Tensor, margin: float) -> Tensor:
    """Ask that real images be nearer to the teacher's than to the student's, by a margin (Portable GAN Eq. 8).

    All three are features (B, ...) of one discriminator; the distance of two is their mean absolute difference, so that
    the margin does not depend on their size. The result is the mean over B of [distance_T - distance_S + margin]_+.
    """
    distance_T = (real - teacher).abs().flatten(1).mean(1)
    distance_S = (real - student).abs().flatten(1).mean(1)
    return F.relu(distance_T - distance_S + margin).mean()  # Portable (8)


def attention_map(features: Tensor) -> Tensor:
    """Return how much each region matters, its mean |channel|: (B, h, w) from (B, C, h, w) (ReKo Eq. 3)."""
    return features.abs().mean(1)  # ReKo (3)


def top_regions(features: Tensor, k: int) -> Tensor:
    """Return the k positions (of h*w) with the largest mean |channel|, image by image: (B, k) from (B, C, h, w)."""
    attention = attention_map(features).flatten(1)
    if not 1 <= k <= attention.shape[1]:
        height, width = features.shape[2:]
        raise UserError(
            f"{k} regions were asked for, and a map of {width}x{height} has {attention.shape[1]}; type a number from 1 "
            f"to {attention.shape[1]}"
        )
    return attention.topk(k, dim=1).indices


def at_regions(features: Tensor, regions: Tensor) -> Tensor:
    """Return the feature vectors at positions (B, K) of h*w: (B, K, C) from (B, C, h, w)."""
    channels = features.shape[1]
    return features.flatten(2).gather(2, regions[:, None].expand(-1, channels, -1)).transpose(1, 2)


def region_contrast(query: Tensor, key: Tensor, temperature: float) -> Tensor:
    """Tell each region's key from those of the other regions of its image, by its query (ReKo Eq. 1, 4).

    Both are (B, K, C) and are L2-normalised here; the result is the mean over B*K of the cross-entropy against the
    diagonal of query @ key^T / temperature.
    """
    logits = unit_vectors(query) @ unit_vectors(key).transpose(1, 2) / temperature
    own = torch.arange(key.shape[1], device=key.device).expand(key.shape[:2])
    return F.cross_entropy(logits.flatten(0, 1), own.flatten())  # ReKo (1)


def unit_vectors(vectors: Tensor) -> Tensor:
    """Scale vectors (..., C) to length 1; one shorter than 1e-7 gives zeros and no gradient, which would explode."""
    length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.where(length > SHORTEST, vectors / length.clamp_min(SHORTEST), 0.0)
