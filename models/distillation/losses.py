"""The distillation losses as pure functions: tensors in, scalar out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from models.distillation.relation import image_relation_loss
from util.errors import UserError


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
