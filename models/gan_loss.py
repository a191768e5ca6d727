"""The adversarial losses: what a prediction of the discriminator costs, and WGAN-GP's gradient penalty."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from util.errors import UserError, nearest

GAN_MODES = ("lsgan", "vanilla", "wgangp", "hinge")


class GANLoss(nn.Module):
    """Compare a discriminator's scores (logits, any shape) with "real" or "fake" by `gan_mode`."""

    def __init__(self, gan_mode: str, target_real_label: float = 1.0, target_fake_label: float = 0.0) -> None:
        super().__init__()
        if gan_mode not in GAN_MODES:
            raise UserError(f"there is no '{gan_mode}' for --gan_mode; {nearest(gan_mode, GAN_MODES)}")
        self.gan_mode = gan_mode
        self.real_label = target_real_label
        self.fake_label = target_fake_label

    def forward(self, prediction: Tensor, target_is_real: bool, for_discriminator: bool = True) -> Tensor:
        """Return the mean loss; `for_discriminator` matters to hinge alone, whose generator has a loss of its own."""
        if self.gan_mode == "wgangp":
            return -prediction.mean() if target_is_real else prediction.mean()
        if self.gan_mode == "hinge":
            if for_discriminator:
                return functional.relu(1 - prediction if target_is_real else 1 + prediction).mean()
            if not target_is_real:
                raise ValueError("a hinge generator has no loss towards 'fake'; call with target_is_real=True")
            return -prediction.mean()
        label = self.real_label if target_is_real else self.fake_label
        target = torch.full_like(prediction, label)
        if self.gan_mode == "lsgan":
            return functional.mse_loss(prediction, target)
        return functional.binary_cross_entropy_with_logits(prediction, target)


def cal_gradient_penalty(
    netD: nn.Module,
    real_data: Tensor,
    fake_data: Tensor,
    device: torch.device | str,
    type: str = "mixed",
    constant: float = 1.0,
    lambda_gp: float = 10.0,
) -> tuple[Tensor | float, Tensor | None]:
    """Return lambda_gp * mean over B of (|gradient of D at the images| - constant)^2 and the gradients, (B, C*H*W).

    `type` says at which images: "real", "fake", or "mixed", a random point between each pair (Gulrajani et al. 2017).
    """
    if lambda_gp <= 0.0:
        return 0.0, None
    if type == "real":
        images = real_data
    elif type == "fake":
        images = fake_data
    elif type == "mixed":
        share = torch.rand(len(real_data), *[1] * (real_data.dim() - 1), device=device, dtype=real_data.dtype)
        images = share * real_data + (1 - share) * fake_data
    else:
        raise ValueError(f"there is no gradient penalty '{type}'; {nearest(type, ('real', 'fake', 'mixed'))}")
    images = images.detach().requires_grad_(True)
    scores = netD(images)
    (gradients,) = torch.autograd.grad(scores, images, torch.ones_like(scores), create_graph=True)
    gradients = gradients.flatten(1)
    lengths = torch.linalg.vector_norm(gradients, dim=1)
    return lambda_gp * ((lengths - constant) ** 2).mean(), gradients
