"""The work of a step is counted right, where it can be counted by hand."""

from __future__ import annotations

import argparse

import pytest
import torch
from torch import nn

from scripts.benchmark import peak
from scripts.benchmark.work import work_of


def test_a_convolution_forward_and_backward() -> None:
    layer, image = nn.Conv2d(3, 5, 3, padding=1, bias=False), torch.rand(2, 3, 8, 8)
    forward = 2 * 2 * 8 * 8 * 3 * 5 * 3 * 3  # two operations for each weight, position and image
    assert work_of(lambda: layer(image)).flops == forward
    assert work_of(lambda: layer(image).sum().backward()).flops == 2 * forward  # images need no gradient
    leaf = image.requires_grad_()
    assert work_of(lambda: layer(leaf).sum().backward()).flops == 3 * forward


@pytest.mark.parametrize("groups", [2, 8])
def test_a_grouped_convolution_is_not_counted_as_a_full_one(groups: int) -> None:
    layer, image = nn.Conv2d(8, 8, 3, padding=1, bias=False, groups=groups), torch.rand(2, 8, 6, 6, requires_grad=True)
    forward = 2 * 2 * 6 * 6 * (8 // groups) * 8 * 3 * 3
    assert work_of(lambda: layer(image)).flops == forward
    assert work_of(lambda: layer(image).sum().backward()).flops == 3 * forward
    assert work_of(lambda: layer(image.detach()).sum().backward()).flops == 2 * forward


def test_bytes_are_what_goes_in_and_out_and_views_are_free() -> None:
    x, y = torch.rand(10, 10), torch.rand(10, 10)
    assert work_of(lambda: x + y).bytes == 3 * 400
    assert work_of(lambda: x + x).bytes == 2 * 400
    assert work_of(lambda: x.t()[2:4]).bytes == 0


def test_an_optimizer_reads_and_writes_its_moments() -> None:
    weight = nn.Parameter(torch.rand(100))
    weight.grad = torch.rand(100)
    adam = torch.optim.Adam([weight], fused=True)
    adam.step()
    assert work_of(adam.step).bytes >= 4 * 400  # weight, gradient, two moments


def test_the_peak_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peak, "seconds_in_turn", lambda runs, repeats, device: {"product": [2.0, 0.5, 1.0]})
    (row,) = peak.rows(argparse.Namespace(device="cpu", dtype="float32", repeats=1))
    assert row["gigaflops_a_second"] == 2 * 512**3 / 0.5 / 1e9
