"""Relational knowledge distillation through Gram matrices: value and gradient in one chunked sweep.

The direct formula builds all N x N x D differences. Here one N x N matrix of squared distances carries everything, since
the cosine of the angle at element i between j and k is (d_ij^2 + d_ik^2 - d_jk^2) / (2 d_ij d_ik). The N^3 cosines are
visited in chunks of vertices i, and the gradient with respect to the squared distances is gathered in the same visit.
Comments name the equation a line implements, e.g. CRD's (4).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Two elements whose components differ by less than this (root mean square) are the same: their direction is noise, and
# 1/d would blow it up (white backgrounds make identical rows). For images in [-1, 1] it is 1/80 of a grey level.
SAME = 1e-4
# Elements of the N^3 array in flight, 28 bytes each: few enough for a CPU's cache, and enough that its threads, which wait
# asleep between operations, and a GPU have something to do in each.
CHUNK_CPU, CHUNK_GPU = 2**19, 2**21


class _Relations:
    """How (N, D) elements lie to one another: (N, N) squared distances, distances and their inverses, in float64."""

    def __init__(self, elements: Tensor) -> None:
        # Centring first: the Gram matrix of uncentred, nearly equal elements loses most digits of their distance.
        centred = elements.double()
        centred = centred - centred.mean(dim=0)
        gram = centred @ centred.T
        norms = gram.diagonal()
        self.squares = (norms[:, None] + norms[None, :] - 2 * gram).clamp_(min=0).fill_diagonal_(0)
        apart = self.squares >= SAME**2 * elements.shape[1]
        self.distances = torch.where(apart, self.squares.sqrt(), 0.0)
        self.inverse = _inverse(self.distances)

    def cosines(self, vertices: slice, out: Tensor) -> Tensor:
        """Return (V, N, N) cosines of the angles at `vertices`, 0 where a side has no length."""
        squares, inverse = self.squares[vertices], self.inverse[vertices]
        projected = torch.add(squares[:, :, None], squares[:, None, :], out=out).sub_(self.squares)
        return projected.mul_(0.5 * inverse[:, :, None]).mul_(inverse[:, None, :])  # CRD (4)


class _RelationLoss(torch.autograd.Function):
    """Distance and angle loss of one image's elements, with the gradient computed along the way."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor, angle_weight: float) -> Tensor:
        relations_s, relations_t = _Relations(student), _Relations(teacher)
        loss, slope = _distance_part(relations_s, relations_t)
        if angle_weight != 0.0:
            angle_loss, angle_slope = _angle_part(relations_s, relations_t)
            loss, slope = loss + angle_weight * angle_loss, slope + angle_weight * angle_slope
        if not ctx.needs_input_grad[0]:
            return loss.to(student.dtype)
        # slope_ij = dL/d(d_ij^2), and d_ij^2 = |x_i - x_j|^2
        slope = slope + slope.T
        elements = student.double()
        elements = elements - elements.mean(dim=0)
        gradient = 2 * (slope.sum(dim=1, keepdim=True) * elements - slope @ elements)
        ctx.save_for_backward(gradient.to(student.dtype))
        return loss.to(student.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = ctx.saved_tensors
        return upstream * gradient, None, None


def image_relation_loss(student: Tensor, teacher: Tensor, angle_weight: float) -> Tensor:
    """Return distance + angle_weight * angle loss between the (N, D) elements of one image; see `relation_loss`."""
    return _RelationLoss.apply(student, teacher.detach(), angle_weight)


def _distance_part(student: _Relations, teacher: _Relations) -> tuple[Tensor, Tensor]:
    """Compare distances over their own mean; return the loss and its slope in the squared distances."""
    count = student.distances.shape[0]
    pairs = count * (count - 1)
    # An image whose elements are all the same has no structure: its relations count as zero.
    scale_s, scale_t = _inverse(student.distances.sum() / pairs), _inverse(teacher.distances.sum() / pairs)
    relative = student.distances * scale_s
    difference = relative - teacher.distances * scale_t  # CRD (2)
    clamped = difference.clamp(-1, 1)
    loss = _huber(difference, clamped).mean()  # CRD (3)
    # psi = d / mean(d): a distance also moves the mean that all distances are divided by
    slope = scale_s * (clamped - torch.sum(clamped * relative) / pairs) / count**2
    return loss, slope * 0.5 * student.inverse


def _angle_part(student: _Relations, teacher: _Relations) -> tuple[Tensor, Tensor]:
    """Compare the cosines of all angles; return the loss and its slope in the squared distances."""
    squares = student.squares
    count = squares.shape[0]
    chunk = max(1, (CHUNK_GPU if squares.is_cuda else CHUNK_CPU) // count**2)
    loss = torch.zeros((), dtype=torch.float64, device=squares.device)
    opposite = torch.zeros_like(squares)  # sum_i c_ijk / (d_ij d_ik): how far side jk, across from i, is pulled
    adjacent = torch.zeros_like(squares)  # the same for side ij, which ends at i
    # Written into again and again: memory that is given back and asked for anew costs as much as the arithmetic.
    shape = (min(chunk, count), count, count)
    doubles = [squares.new_empty(shape) for _ in range(2)]
    floats = [squares.new_empty(shape, dtype=torch.float32) for _ in range(3)]
    for start in range(0, count, chunk):
        vertices = slice(start, start + chunk)
        near = student.inverse[vertices].float()
        cosine, other, difference, pull, product = (buffer[: len(near)] for buffer in (*doubles, *floats))
        student.cosines(vertices, out=cosine)
        torch.sub(cosine, teacher.cosines(vertices, out=other), out=other)
        # Only now float32: before, it would lose short sides beside long ones, and a good student's small error beside 1.
        difference.copy_(other)
        torch.clamp(difference, -1, 1, out=pull)  # c_ijk, the derivative of Huber with delta 1
        loss += torch.sum(_huber(difference, pull, out=difference))  # CRD (5)
        turned = product.copy_(cosine).mul_(pull).sum(dim=2)
        pull.mul_(near[:, None, :])
        adjacent[vertices] = near * pull.sum(dim=2) - near.square() * turned
        opposite += pull.mul_(near[:, :, None]).sum(dim=0)
    return loss / count**3, (adjacent - 0.5 * opposite) / count**3


def _inverse(values: Tensor) -> Tensor:
    """Return 1 / values, and 0 where a value is 0."""
    return torch.where(values > 0, 1 / values, torch.zeros_like(values))


def _huber(difference: Tensor, clamped: Tensor, out: Tensor | None = None) -> Tensor:
    """Return the Huber loss with delta 1 of `difference`, whose clamp to [-1, 1] is given: c (x - c / 2)."""
    return torch.sub(difference, clamped, alpha=0.5, out=out).mul_(clamped)  # CRD (6)
