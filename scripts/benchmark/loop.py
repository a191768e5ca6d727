"""What train.py does beside its steps, by default frequencies: logging, pictures, the page, saving."""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from scripts.benchmark.step import FLAGGED, build
from scripts.benchmark.step import add_arguments as add_step_arguments
from scripts.benchmark.timing import median_seconds, wait_for
from util.finite import FiniteWatch, norms
from util.health import Health
from util.progress import Progress
from util.run import Place
from util.visualizer import Visualizer

HELP = "the share of logging, pictures, page and saving in a training's time, at the default frequencies"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what a step is built from."""
    add_step_arguments(parser)
    parser.set_defaults(model="cycle_gan")


def rows(opt: argparse.Namespace) -> list[dict[str, object]]:
    """Time a step and each duty by itself; a duty that comes every n images costs its nth part of a step's time."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        step = build(opt, opt.part or "step", FLAGGED if opt.flags else "default", Path(folder))
        model = step.__self__  # type: ignore[attr-defined]
        model.opt.display_id = 0  # no visdom server is asked for; a viewer is fed by a thread of its own
        visualizer, progress = Visualizer(model.opt), Progress(10**6, 10**3)
        health, watch, place = Health(progress.say), FiniteWatch(), Place()
        step()
        losses, visuals = model.get_current_losses(), model.get_current_visuals()

        def every_step() -> None:
            place.stepped(opt.batch, 0.1)
            for optimizer in model.optimizers:  # as the watch does before each optimizer's step
                parameters = (p for group in optimizer.param_groups for p in group["params"])
                if gradients := [p.grad for p in parameters if p.grad is not None]:
                    norms(gradients)
            watch.observe(place.steps, model.current_losses(), model.get_image_paths())
            progress.step()

        def pictures() -> None:
            model.compute_visuals()
            visualizer.display_current_results(model.get_current_visuals(), 1, False)
            health.look(visuals)

        def page() -> None:
            visualizer.reset()
            visualizer.display_current_results(visuals, 1, True)

        def numbers() -> None:
            found = model.get_current_losses()
            visualizer.print_current_losses(1, place.epoch_iter, found, 0.1, 0.1)
            visualizer.plot_current_losses(1, 0.5, losses)
            health.listen(found)

        def saving() -> None:
            model.save_state({"place": place.state_dict(), "visualizer": visualizer.state_dict()})

        frequencies = model.opt
        duties: dict[str, tuple[Callable[[], object], int]] = {
            "every step": (every_step, opt.batch),
            "numbers": (numbers, frequencies.print_freq),
            "pictures": (pictures, frequencies.display_freq),
            "page": (page, frequencies.update_html_freq),
            "saving": (saving, frequencies.save_latest_freq),
        }
        visualizer.saved = True
        wait_for(opt.device)
        seconds = median_seconds({"step": step, **{name: run for name, (run, _) in duties.items()}}, opt.repeats)
        progress.close()
        visualizer.close()
    per_step = {name: seconds[name] * opt.batch / images for name, (_, images) in duties.items()}
    found = [
        {
            "duty": name,
            "seconds": seconds[name],
            "every_images": images,
            "percent": 100 * per_step[name] / seconds["step"],
        }
        for name, (_, images) in duties.items()
    ]
    # saving is the user's to choose, and not a part of looking on
    looking = sum(per_step[name] for name in duties if name != "saving")
    found.append({"duty": "all but saving", "seconds": looking, "every_images": opt.batch})
    found[-1]["percent"] = 100 * looking / seconds["step"]
    found.append({"duty": "step", "seconds": seconds["step"], "every_images": opt.batch, "percent": 100.0})
    where = {"model": opt.model, "base": opt.base, "batch": opt.batch, "size": opt.size, "device": opt.device}
    return [{**row, **where} for row in found]
