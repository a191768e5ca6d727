"""Numbers that say how good a translation is and what it costs, a file per number; offered through the plugins' hook."""

from __future__ import annotations

from collections.abc import Callable

from util.plugin_manager import hookimpl


@hookimpl
def register_metrics(register: Callable[..., None]) -> None:
    """Offer what `--metrics` names; imported here, since training needs none of it."""
    from util.metrics import costs, distribution, lpips, pixels, segmentation

    register("fid", distribution.fid)
    register("kid", distribution.kid)
    register("fsd", distribution.fsd)
    register("ksd", distribution.ksd)
    register("lpips", lpips.measure_lpips)
    register("psnr", pixels.measure_psnr)
    register("ssim", pixels.measure_ssim)
    register("l1", pixels.measure_l1)
    register("miou", segmentation.measure_miou)
    register("complexity", costs.measure_complexity)
    register("latency", costs.measure_latency)
