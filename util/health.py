"""Noticing that a training has gone wrong in one of the usual ways, from what it shows and prints anyway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

COPIED = 0.05  # of the input's contrast: a network that repeats its input leaves less
SAME = 0.05  # of the inputs' difference
DARK = -0.98  # of [-1, 1]: two and a half grey levels of 255
WON = 0.01
THUMBNAIL = 32  # pixels a side, by which different images are told apart

# Upstream's labels: which image is made from which, and which losses are a discriminator's own.
SOURCES = {"fake_B": "real_A", "fake_A": "real_B"}
LOSSES_D = {"D_A": ("D_A",), "D_B": ("D_B",), "D": ("D_real", "D_fake")}
WHOSE = ("", "teacher_")

# How often in a row, since one picture may be odd and the loss of one step is noisy, and what is said then.
TROUBLES = {
    "black": (2, "{} is all black; look at the data, or go on from an earlier checkpoint with a lower --lr"),
    "copy": (2, "{} is its input again: the generator leaves it as it is; a larger weight of the GAN loss may help"),
    "same": (
        2,
        "{} is the same for different inputs: the generator has collapsed; a lower --lr or a new --seed may help",
    ),
    "won": (5, f"the loss of {{}} stays under {WON}: nothing fools it, and so the generator learns little from it"),
}


class Health:
    """Say each kind of trouble that `look` and `listen` find, in one line and once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.said: set[str] = set()
        self.streaks: Counter[tuple[str, str]] = Counter()
        self.before: dict[str, tuple[Tensor, Tensor]] = {}  # thumbnails of input and output at the last look

    @torch.no_grad()
    def look(self, visuals: Mapping[str, Tensor]) -> None:
        """Examine labelled images, (B, C, H, W) in [-1, 1]."""
        sources = {f"{who}{label}": source for who in WHOSE for label, source in SOURCES.items()}
        images = {label for label, image in visuals.items() if isinstance(image, Tensor) and image.dim() == 4}
        sources = {label: source for label, source in sources.items() if {label, source} <= images}
        named = dict.fromkeys([*sources.values(), *sources])
        self._judge("black", {label: bool((visuals[label].flatten(1).amax(1) < DARK).any()) for label in named})
        pairs = {label: (visuals[source].float(), visuals[label].float()) for label, source in sources.items()}
        self._judge("copy", {label: is_copy(*pair) for label, pair in pairs.items()})
        self._judge("same", {label: self._is_same(label, *pair) for label, pair in pairs.items()})

    def listen(self, losses: Mapping[str, float]) -> None:
        """Examine losses by name."""
        won = {}
        for who in WHOSE:
            for name, parts in LOSSES_D.items():
                if all(f"{who}{part}" in losses for part in parts):
                    # a critic's loss may lie far below zero, which means nothing of the kind
                    won[f"{who}{name}"] = all(abs(losses[f"{who}{part}"]) < WON for part in parts)
        self._judge("won", won)

    def _is_same(self, label: str, real: Tensor, image: Tensor) -> bool:
        """Tell whether outputs agree for inputs that do not: within the batch, or with the last look's."""
        now = thumbnails(real), thumbnails(image)
        before = now if len(image) > 1 else self.before.get(label, now)
        self.before[label] = now
        moved, answered = ((a - b[:1]).abs().flatten(1).mean(1) for a, b in zip(now, before, strict=True))
        told_apart = moved > SAME
        return bool(told_apart.any() and (answered[told_apart] < SAME * moved[told_apart]).all())

    def _judge(self, kind: str, found: Mapping[str, bool]) -> None:
        """Count how often in a row each label was in this kind of trouble, and speak up at the limit."""
        limit, sentence = TROUBLES[kind]
        for label, is_so in found.items():
            self.streaks[kind, label] = self.streaks[kind, label] + 1 if is_so else 0
        names = [label for label in found if self.streaks[kind, label] >= limit]
        if names and kind not in self.said:
            self.said.add(kind)
            self.say(f"health: {sentence.format(' and '.join(names))}")


def is_copy(real: Tensor, image: Tensor) -> bool:
    """Tell whether (B, C, H, W) images are those they were made from."""
    if real.shape != image.shape:
        return False
    contrast = (real - real.mean()).abs().mean()
    return bool((image - real).abs().mean() < COPIED * contrast)


def thumbnails(images: Tensor) -> Tensor:
    """Shrink images to one small size, so that any two can be compared."""
    return F.adaptive_avg_pool2d(images, THUMBNAIL)
