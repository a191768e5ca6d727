"""Train a model: `python train.py --model crd --dataroot ./datasets/horse2zebra --name h2z`.

The order is upstream's: options, data, model, loop, save. `--continue_train --name h2z` goes on where a run stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Sequence

from data import Loader, create_dataset, has_validation, held_out_dataset, summarise
from models import create_model
from models.base_model import BaseModel
from options.base_options import refuse_to_overwrite, save_options
from options.train_options import TrainOptions
from util.errors import for_people
from util.finite import FiniteWatch
from util.health import Health
from util.metrics.held_out import HeldOut, choose_metric
from util.plugin_manager import plugin_manager
from util.progress import Progress
from util.randomness import random_state, restore_random_state, seed_everything
from util.run import Place, Stopwatch
from util.visualizer import Visualizer


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Train as the options say."""
    opt = TrainOptions().parse(argv)
    refuse_to_overwrite(opt)
    seed_everything(opt.seed)
    metric = held_out_metric(opt)
    dataset = create_dataset(opt)
    print(summarise(dataset))
    model = create_model(opt)
    print(f"model [{type(model).__name__}] was created")
    print(model.setup(opt))
    held_out = HeldOut(held_out_dataset(opt), metric, opt, model.device) if metric != "none" else None
    state = model.load_state() if opt.continue_train else None
    save_options(opt)
    visualizer = Visualizer(opt)
    place = Place(epoch=opt.epoch_count)
    if state:
        place = Place.from_state(state["place"])
        restore_random_state(state["random"])
        visualizer.load_state_dict(state["visualizer"])
        print(f"going on in epoch {place.epoch}, after step {place.steps}")
    # closed before an error speaks, so that its sentence has a line of its own below the bar
    with contextlib.closing(visualizer), contextlib.closing(make_progress(opt, model, dataset, place)) as progress:
        train(opt, model, dataset, held_out, visualizer, progress, place)


def train(
    opt: argparse.Namespace,
    model: BaseModel,
    dataset: Loader,
    held_out: HeldOut | None,
    visualizer: Visualizer,
    progress: Progress,
    place: Place,
) -> None:
    """Run the epochs that are left, from `place` on."""
    last_epoch = opt.n_epochs + opt.n_epochs_decay
    if place.epoch > last_epoch:
        print(f"nothing is left to train: epoch {last_epoch} is the last; a larger --n_epochs goes on")
    watch, clock, health = FiniteWatch(), Stopwatch(), Health(progress.say)

    def save(name: int | str) -> None:
        watch.settle()  # a step that was not checked is never saved
        model.save_networks(name)
        if name == "latest":
            visuals = visualizer.state_dict()
            model.save_state({"place": place.state_dict(), "random": random_state(), "visualizer": visuals})

    for epoch in range(place.epoch, last_epoch + 1):
        epoch_start = time.monotonic()
        visualizer.reset()
        turns = model.passes(epoch)
        while place.turn < len(turns):
            model.begin_pass(turns[place.turn])
            if candidate := model.candidate():
                progress.say(model.judge(held_out.score(candidate) if held_out else None))
            dataset.set_pass(place.passes, start=place.position)
            for data in clock.over(dataset):
                model.set_input(data)
                model.optimize_parameters()
                clock.stop()
                place.stepped(len(model.get_image_paths()), clock.data + clock.step)
                watch.observe(place.steps, model.current_losses(), model.get_image_paths())
                if place.due(opt.display_freq) or place.steps == 1:
                    model.compute_visuals()
                    save_page = place.due(opt.update_html_freq)
                    visuals = model.get_current_visuals()
                    visualizer.display_current_results(visuals, epoch, save_page)
                    if place.steps == 1:
                        visualizer.reset()  # an epoch's picture on the page shall not stay that of the very first step
                    health.look(visuals)
                if place.due(opt.print_freq):
                    losses = model.get_current_losses()
                    times = clock.step / opt.batch_size, clock.data
                    visualizer.print_current_losses(epoch, place.epoch_iter, losses, *times)
                    fraction = (place.turn + place.position / len(dataset)) / len(turns)
                    visualizer.plot_current_losses(epoch, fraction, losses)
                    health.listen(losses)
                if place.due(opt.save_latest_freq):
                    progress.say(f"saving the latest model (epoch {epoch}, total_iters {place.total_iters})")
                    save(f"iter_{place.total_iters}" if opt.save_by_iter else "latest")
                progress.step()
            place.pass_done()
        rate = model.update_learning_rate()
        place.epoch_done()
        if (opt.save_epoch_freq > 0 and epoch % opt.save_epoch_freq == 0) or epoch == last_epoch:
            progress.say(f"saving the model at the end of epoch {epoch}, iters {place.total_iters}")
            save("latest")
            save(epoch)
        taken = time.monotonic() - epoch_start
        progress.say(f"End of epoch {epoch} / {last_epoch} \t Time Taken: {taken:.0f} sec")
        progress.say(rate)


def make_progress(opt: argparse.Namespace, model: BaseModel, dataset: Loader, place: Place) -> Progress:
    """Make the bar that counts the steps of the whole run."""
    epochs = range(opt.epoch_count, opt.n_epochs + opt.n_epochs_decay + 1)
    steps = sum(len(model.passes(epoch)) for epoch in epochs) * -(-len(dataset) // opt.batch_size)
    return Progress(steps, steps / max(1, len(epochs)), done=place.steps)


def held_out_metric(opt: argparse.Namespace) -> str:
    """Return the metric that chooses the best on held-out images; "none" when nothing is chosen, or can't be."""
    metric = "none"
    if plugin_manager().get("models", opt.model).selects_on_held_out(opt):
        metric, reason = choose_metric(opt, paired=opt.dataset_mode == "aligned")
        best = "the latest counts as the best" if metric == "none" else f"the best is chosen by {metric}"
        print(f"on held-out images: {best} ({reason}; --best_metric chooses)")
    if metric == "none" or has_validation(opt):
        opt.holdout = 0.0
    return metric


if __name__ == "__main__":
    main()
