"""What a training shows while it runs: the loss line and its log, live curves and images, and the page."""

from __future__ import annotations

import time
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from util.curves import Curve
from util.files import write_text
from util.growing import LogFile, cut_training_lines, sizes
from util.images import mkdirs, save_image, tensor2im
from util.metric_picture import picture
from util.sinks import Guarded, make_sinks
from util.visdom_viewer import VisdomViewer, windows

LOG_NAME = "loss_log.txt"
WEB_FOLDER = "web"
METRICS_NAME = "metrics.jsonl"
PAGE_NAME = f"{WEB_FOLDER}/index.html"
GROWING = (LOG_NAME, METRICS_NAME, PAGE_NAME)
TEACHER_PREFIX = "teacher_"
METRIC_PREFIX = "metric_"  # of the kinds of curves, and of their windows in visdom
METRICS_PICTURE = "metrics.svg"
REFRESH_SECONDS = 30  # upstream's single second leaves no time to look at a picture


class Visualizer:
    """Show losses and images wherever the options say; whatever of it fails, training goes on."""

    def __init__(self, opt: Namespace) -> None:
        self.opt = opt
        self.name = opt.name
        self.ncols = opt.display_ncols
        self.win_size = opt.display_winsize
        self.saved = False
        self.x = 0.0  # the fraction of epochs last plotted
        self.curves = {"losses": Curve(), "teacher": Curve()}
        self.folder = folder = Path(opt.checkpoints_dir) / opt.name
        mkdirs(folder)
        self.log = Guarded("the log", LogFile(folder / LOG_NAME), forgive=True)
        self.headline = f"================ Training Loss ({time.strftime('%c')}) ================"
        self.log("append", self.headline)
        self.page = (
            None if opt.no_html or not opt.isTrain else Guarded("the HTML page", self._page(folder / WEB_FOLDER))
        )
        self.sinks = make_sinks(opt, folder)
        self.windows = windows(opt.display_id)
        self.visdom: Guarded | None = None
        if opt.display_id > 0:
            self.visdom = Guarded("visdom", VisdomViewer(opt.display_server, opt.display_port, opt.display_env))

    def _page(self, web_dir: Path) -> TrainingPage:
        title = f"Experiment name = {self.name}"
        return TrainingPage(web_dir, title, self.win_size, append=getattr(self.opt, "continue_train", False))

    def reset(self) -> None:
        """Let the next display_current_results of an epoch write to the page even unasked."""
        self.saved = False

    def display_current_results(self, visuals: Mapping[str, Any], epoch: int, save_result: bool) -> None:
        """Show labelled images, (B, C, H, W) in [-1, 1], live.

        They go to the page too if `save_result`, or if nothing has since reset().
        """
        images = {label: tensor2im(visual) for label, visual in visuals.items()}
        if self.visdom and images:
            self._show_images(self.visdom, images)
        for sink in self.sinks:
            sink("images", self.x, images)
        if self.page and (save_result or not self.saved):
            self.saved = True
            self.page("add", epoch, images)

    def _show_images(self, visdom: Guarded, images: dict[str, np.ndarray]) -> None:
        first = self.opt.display_id + 1
        if self.ncols > 0:
            columns = min(self.ncols, len(images))
            visdom("grid", self.windows["images"], f"{self.name} images", list(images.values()), columns, self.win_size)
            visdom("labels", self.windows["labels"], f"{self.name} labels", list(images), columns)
            return
        for window, (label, image) in enumerate(images.items(), first):
            visdom("image", window, label, image, self.win_size)

    def plot_current_losses(self, epoch: int, counter_ratio: float, losses: Mapping[str, float]) -> None:
        """Add losses to the curves at epoch + counter_ratio; the teacher's have a window, so a scale, of their own."""
        self.x = epoch + counter_ratio
        teacher = {name: loss for name, loss in losses.items() if name.startswith(TEACHER_PREFIX)}
        others = {name: loss for name, loss in losses.items() if name not in teacher}
        for kind, part in (("losses", others), ("teacher", teacher)):
            if part:
                self.curves[kind].add(self.x, part)
                self._show_curves(kind)
        for sink in self.sinks:
            sink("losses", self.x, losses)

    def plot_metrics(self, epoch: int, lines: Iterable[Mapping[str, Any]]) -> None:
        """Add an evaluation's lines to the curves, of which every metric has its own, and draw them on the page."""
        values: dict[str, dict[str, float]] = {}
        for line in lines:
            label = line["network"] if line["variant"] == "last" else f"{line['network']} {line['variant']}"
            values.setdefault(line["metric"], {})[label] = line["value"]
        for metric, part in values.items():
            self.curves.setdefault(METRIC_PREFIX + metric, Curve()).add(epoch, part)
            self._show_curves(METRIC_PREFIX + metric)
            for sink in self.sinks:
                sink("losses", epoch, {f"{metric}/{label}": value for label, value in part.items()})
        if self.page:
            kinds = [kind for kind in self.curves if kind.startswith(METRIC_PREFIX)]
            self.page("draw", {kind.removeprefix(METRIC_PREFIX): self.curves[kind] for kind in kinds})

    def _show_curves(self, kind: str) -> None:
        if not self.visdom:
            return
        if kind.startswith(METRIC_PREFIX):
            metric = kind.removeprefix(METRIC_PREFIX)
            window = kind if self.opt.display_id == 1 else f"{kind}_{self.opt.display_id}"
            self.visdom("curves", window, f"{self.name} {metric} (lower is better)", self.curves[kind], metric)
            return
        title = f"{self.name} teacher loss over time" if kind == "teacher" else f"{self.name} loss over time"
        self.visdom("curves", self.windows[kind], title, self.curves[kind])

    def print_current_losses(
        self, epoch: int, iters: int, losses: Mapping[str, float], t_comp: float, t_data: float
    ) -> None:
        """Print the loss line and append it to the log; times are seconds per image."""
        message = f"(epoch: {epoch}, iters: {iters}, time: {t_comp:.3f}, data: {t_data:.3f}) "
        message += "".join(f"{name}: {loss:.3f} " for name, loss in losses.items())
        tqdm.write(message)
        self.log("append", message)

    def state_dict(self) -> dict[str, Any]:
        """Return the curves as plain lists, and how far each growing file has grown, for a checkpoint."""
        curves = {kind: curve.state_dict() for kind, curve in self.curves.items()}
        return curves | {"x": self.x, "saved": self.saved, "sizes": sizes(self.folder, GROWING)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue the curves of another run, and cut back what this run wrote after it was saved."""
        if "sizes" in state:
            self._cut_back(state)
        metrics = [kind for kind in state if kind.startswith(METRIC_PREFIX)]
        for kind in [*self.curves, *metrics]:
            if kind in state:
                self.curves.setdefault(kind, Curve()).load_state_dict(state[kind])
                self._show_curves(kind)

    def _cut_back(self, state: Mapping[str, Any]) -> None:
        self.x, self.saved = state["x"], state["saved"]
        self.log("cut", state["sizes"][LOG_NAME])
        self.log("append", self.headline)
        cut_training_lines(self.folder / METRICS_NAME, state["sizes"][METRICS_NAME])
        if self.page:
            self.page("cut", state["sizes"][PAGE_NAME])
        for sink in self.sinks:
            sink("cut", self.x)

    def close(self) -> None:
        """Send and write what is held back; waits for no viewer longer than five seconds."""
        for sink in [*self.sinks, *([self.visdom] if self.visdom else [])]:
            sink("close")


class Silence:
    """Stand in for a Visualizer in a process that shows nothing."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Take whatever is to be shown."""
        return lambda *arguments: None


class TrainingPage:
    """Put the images of each epoch on a page, newest first."""

    def __init__(self, web_dir: Path, title: str, width: int, append: bool) -> None:
        from util.html import HTML  # here, because --no_html is for machines without dominate

        self.html = HTML(web_dir, title, refresh=REFRESH_SECONDS, newest_first=True, append=append)
        self.width = width

    def cut(self, size: int) -> None:
        """Go back to the page of `size` bytes."""
        self.html.cut(size)

    def add(self, epoch: int, images: Mapping[str, np.ndarray]) -> None:
        """Write the epoch's images; those already on the page change in place, as their file names don't."""
        files = {f"epoch{epoch:03d}_{label}.png": label for label in images}
        for file, label in files.items():
            save_image(images[label], self.html.img_dir / file)
        new = [file for file in files if file not in self.html.images]
        if new:
            self.html.add_header(f"epoch [{epoch}]")
            self.html.add_images(new, [files[file] for file in new], new, width=self.width)
            self.html.save()

    def draw(self, metrics: Mapping[str, Curve]) -> None:
        """Draw the metrics' curves; their picture stays where it is on the page, and changes."""
        write_text(self.html.img_dir / METRICS_PICTURE, picture(metrics))
        if METRICS_PICTURE not in self.html.images:
            self.html.add_header("metrics on images that training does not see", pinned=True)
            self.html.add_images([METRICS_PICTURE], ["over the epochs"], [METRICS_PICTURE], width=720)
            self.html.save()
