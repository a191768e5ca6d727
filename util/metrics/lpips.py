"""LPIPS v0.1 (Zhang et al., CVPR 2018): the distance of two images in features that were weighted to agree with people."""

from __future__ import annotations

import statistics

import torch
from torch import Tensor, nn

from util.backbones import BACKBONES, JUDGED, Backbone, Use, fetched, load_backbone, refuse_small, tapped
from util.checkpoint import load_weights
from util.errors import UserError
from util.metrics.evidence import Evidence, Measured, as_tensor

SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of inputs in [-1, 1]
URL = "https://raw.githubusercontent.com/richzhang/PerceptualSimilarity/master/lpips/weights/v0.1/{}.pth"
USE = Use(
    "LPIPS",
    "--lpips_net chooses the network, --lpips_backbone its file",
    "or type --lpips_backbone FILE; --lpips_net squeeze needs 5 MB only",
    JUDGED,
)
ALEXNET = "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"

# Each network tapped after its ReLUs (after Fire modules in SqueezeNet's case), and the channels there.
NETWORKS: dict[str, tuple[Backbone, tuple[int, ...]]] = {
    "squeeze": (BACKBONES["squeezenet"]._replace(taps=(1, 4, 7, 9, 10, 11, 12)), (64, 128, 256, 384, 384, 512, 512)),
    "vgg": (BACKBONES["vgg16"]._replace(taps=(3, 8, 15, 22, 29), least=16), (64, 128, 256, 512, 512)),
    "alex": (Backbone("alexnet", (1, 4, 7, 9, 11), ALEXNET, "233 MB", 31), (64, 192, 384, 256, 256)),
}


class LPIPS(nn.Module):
    """The distance of images (B, 3, H, W) in [-1, 1]; `backbone` is imagenet, random or a file, `linear` a file or None."""

    def __init__(self, network: str, backbone: str = "imagenet", linear: str | None = None) -> None:
        super().__init__()
        self.shape, channels = NETWORKS[network]
        self.layers = load_backbone(self.shape, backbone, self.shape.build, USE)
        path = linear or fetched(
            URL.format(network),
            "a few kB",
            f"linear layers of LPIPS ({network})",
            "or type --lpips_weights FILE",
            name=f"lpips_v0.1_{network}.pth",
        )
        weights = load_weights(path)
        for layer, width in enumerate(channels):
            weight = weights.get(f"lin{layer}.model.1.weight")
            if weight is None or weight.shape != (1, width, 1, 1) or f"lin{len(channels)}.model.1.weight" in weights:
                raise UserError(
                    f"{path} does not hold the linear layers of LPIPS v0.1 for --lpips_net {network}; fetch "
                    f"{URL.format(network)}, or type the --lpips_net that it belongs to ({', '.join(NETWORKS)})"
                )
            self.register_buffer(f"weight{layer}", weight)
        self.register_buffer("shift", torch.tensor(SHIFT).view(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor(SCALE).view(1, 3, 1, 1))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return (B,) distances: per tap the weighted squared difference of unit features, averaged over positions."""
        distances = [
            ((a - b).square() * getattr(self, f"weight{layer}")).sum(1).mean((1, 2))
            for layer, (a, b) in enumerate(zip(self.features(x), self.features(y), strict=True))
        ]
        return torch.stack(distances).sum(0)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the features at the taps, each position's vector of length 1."""
        refuse_small(x.shape[2:], self.shape, USE)
        features = tapped(self.layers, self.shape.taps, (x - self.shift) / self.scale)
        return [f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in features]


@torch.no_grad()
def measure_lpips(evidence: Evidence) -> list[Measured]:
    """Return the mean LPIPS of the pairs, and its deviation over them."""
    opt, pairs = evidence.opt, list(evidence.pairs("lpips"))
    lpips = LPIPS(opt.lpips_net, opt.lpips_backbone, opt.lpips_weights).to(evidence.device)
    values: list[float] = []
    for fake, truth in pairs:
        x, y = (2 * as_tensor([image]).to(evidence.device) - 1 for image in (fake, truth))
        values.append(float(lpips(x, y)))
    assert evidence.fakes is not None
    words = f"v0.1, {opt.lpips_net}, images unresized, spread: deviation over images"
    spread = statistics.stdev(values) if len(values) > 1 else None
    resolution, count = evidence.fakes.resolution, len(values)
    return [Measured("lpips", statistics.fmean(values), spread, count, count, words, resolution=resolution)]
