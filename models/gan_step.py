"""The parts of a GAN's step that are the same in every model: the discriminator's losses, and Adam."""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from models.networks import GANLoss, cal_gradient_penalty


def discriminator_losses(
    criterion: GANLoss, netD: nn.Module, real: Tensor, fake: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return D's losses on real images, on generated images (detached here), and WGAN-GP's gradient penalty or 0."""
    fake = fake.detach()
    loss_real = criterion(netD(real), True)  # Portable (1)
    loss_fake = criterion(netD(fake), False)  # CRD (11)  # DCD (1)
    penalty = torch.zeros((), device=real.device)
    if criterion.gan_mode == "wgangp" and real.shape == fake.shape:
        penalty = cal_gradient_penalty(netD, real, fake, real.device)[0]
    return loss_real, loss_fake, penalty


def make_adam(parameters: Iterable[nn.Parameter], opt: argparse.Namespace) -> torch.optim.Adam:
    """Return the optimizer of all networks: upstream's Adam, in one pass over the weights instead of one per operation."""
    return torch.optim.Adam(parameters, lr=opt.lr, betas=(opt.beta1, 0.999), fused=True)
