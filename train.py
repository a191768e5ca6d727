"""Train a model: `python train.py --model crd --dataroot ./datasets/horse2zebra --name h2z`.

The order is upstream's: options, data, model, loop, save. `--continue_train --name h2z` goes on where a run stopped:
Ctrl-C and SIGTERM end the step, save and say so. `torchrun --nproc_per_node=2 train.py …` trains one model with two
processes, of which the first writes and speaks.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import shlex
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from data import Loader, create_dataset, held_out_dataset, judged_phase, settle_source, summarise
from data.identity import identity, refuse_other_images
from models import create_model
from models.base_model import BaseModel
from models.evaluation import Evaluation, images
from models.networks import refuse_unknown_networks
from models.saver import Saver, read_run
from options.base_options import refuse_to_overwrite, save_options, saved_options_of
from options.train_options import TrainOptions
from util import distributed
from util.checkpoint import STATE_FILE, understood
from util.errors import for_people
from util.files import remove_leftovers
from util.finite import FiniteWatch
from util.health import Health
from util.lock import only_writer
from util.metrics.held_out import HeldOut, available, choose_metric
from util.plugin_manager import plugin_manager
from util.progress import Progress
from util.randomness import seed_everything
from util.run import Pace, Place, Stopwatch, Timer
from util.signals import Stop
from util.visualizer import Silence, Visualizer


@for_people
@distributed.joined()
def main(argv: Sequence[str] | None = None) -> None:
    """Train as the options say."""
    opt = TrainOptions().parse(argv)
    refuse_to_overwrite(opt)
    refuse_unknown_networks(opt)
    before = saved_options_of(opt) if opt.continue_train else {}
    seed_everything(opt.seed)
    metrics = plan_evaluation(opt)
    dataset = create_dataset(opt)
    print(summarise(dataset))
    model = create_model(opt)
    print(f"model [{type(model).__name__}] was created")
    print(model.setup(opt))
    distributed.part_ways(opt.seed)
    evaluation = None
    if metrics:
        evaluation = Evaluation(opt, model, HeldOut(held_out_dataset(opt), metrics[0], opt, model.device, metrics[1:]))
    with only_writer(model.save_dir) if distributed.is_first() else contextlib.nullcontext():
        run(opt, model, dataset, evaluation, before)


def run(
    opt: argparse.Namespace,
    model: BaseModel,
    dataset: Loader,
    evaluation: Evaluation | None,
    before: Mapping[str, Any],
) -> None:
    """Train from the beginning, or from where the saved run stands, in a folder that no one else writes to."""
    state, loaded = read_run(opt, model) if opt.continue_train else (None, "")
    if loaded:
        print(loaded)
    left = True
    if state:
        refuse_other_images(dataset, state.get("data"))
        with understood(model.save_dir / STATE_FILE):
            remember_end(opt, state["place"], before)
            left = state["place"]["epoch"] <= opt.n_epochs + opt.n_epochs_decay
    if distributed.is_first():
        remove_leftovers(model.save_dir)
    if not left:  # nothing is written, neither a plan that will not be carried out
        last_epoch = opt.n_epochs + opt.n_epochs_decay
        print(f"nothing is left to train: epoch {last_epoch} is the last; a larger --n_epochs goes on")
        return
    if distributed.is_first():
        save_options(opt)
    visualizer = Visualizer(opt) if distributed.is_first() else Silence()
    place, watch = Place(epoch=opt.epoch_count), FiniteWatch(opt.on_nonfinite == "skip", opt.max_nonfinite)
    pace = Pace()
    parts = {"place": place, "visualizer": visualizer, "watch": watch, "evaluation": evaluation, "pace": pace}
    saver = Saver(opt, model, parts, identity(dataset))
    if state:
        saver.resume(state)
        print(f"going on in epoch {place.epoch}, after step {place.steps}")
    # closed before an error speaks, so that its sentence has a line of its own below the bar
    progress = make_progress(opt, model, dataset, place, pace)
    with Stop() as stop, contextlib.closing(visualizer), contextlib.closing(progress):
        train(opt, model, dataset, evaluation, visualizer, progress, place, watch, saver, stop)
    if stop.asked and place.epoch <= opt.n_epochs + opt.n_epochs_decay:
        print(f"stopped by {stop.asked.name} and saved after step {place.steps}; go on with: {go_on_command(opt)}")
        raise SystemExit(stop.exit_code)


def train(
    opt: argparse.Namespace,
    model: BaseModel,
    dataset: Loader,
    evaluation: Evaluation | None,
    visualizer: Visualizer | Silence,
    progress: Progress,
    place: Place,
    watch: FiniteWatch,
    saver: Saver,
    stop: Stop,
) -> None:
    """Run the epochs that are left, from `place` on, until the end or until asked to stop."""
    last_epoch = opt.n_epochs + opt.n_epochs_decay
    clock, timer, health = Stopwatch(), Timer(opt.save_every_minutes), Health(progress.say)
    watch.say = progress.say
    watch.attach(model.optimizers, model.networks(), model.current_losses)

    def save(name: int | str, best: Mapping[str, str] | None = None) -> None:
        watch.settle()  # a step that was not checked is never saved
        saver.save(name, best)
        timer.reset()
        progress.pace.pause()

    for epoch in range(place.epoch, last_epoch + 1):
        epoch_start = time.monotonic()
        if place.epoch_iter == 0:
            visualizer.reset()
        turns = model.passes(epoch)
        while place.turn < len(turns):
            model.begin_pass(turns[place.turn])
            if candidate := model.candidate():
                progress.say(model.judge(evaluation.score(candidate) if evaluation else None))
            dataset.set_pass(place.passes, start=place.position)
            progress.pace.pause()
            for data in clock.over(dataset):
                model.set_input(data)
                model.optimize_parameters()
                place.stepped(len(model.get_image_paths()) * distributed.world_size())
                watch.observe(place.steps, model.current_losses(), model.get_image_paths())
                clock.stop()  # only now: on a GPU it is the watch that waits, for the step before
                place.seconds += clock.data + clock.step
                if place.due(opt.display_freq) or place.steps == 1:
                    model.compute_visuals()
                    save_page = place.due(opt.update_html_freq)
                    visuals = model.get_current_visuals()
                    visualizer.display_current_results(visuals, epoch, save_page)
                    if place.steps == 1:
                        visualizer.reset()  # an epoch's picture on the page shall not stay that of the very first step
                    health.look(visuals)
                if place.due(opt.print_freq):
                    losses = distributed.mean(model.get_current_losses())
                    times = clock.step / place.step_images, clock.data
                    visualizer.print_current_losses(epoch, place.epoch_iter, losses, *times)
                    fraction = (place.turn + place.position / len(dataset)) / len(turns)
                    visualizer.plot_current_losses(epoch, fraction, losses)
                    health.listen(losses)
                # asked once, of all processes: both may change at any moment, and in some of them only
                ending, by_time = distributed.anyone(stop.asked is not None, timer.due())
                if ending or by_time or place.due(opt.save_latest_freq):
                    progress.say(f"saving the latest model (epoch {epoch}, total_iters {place.total_iters})")
                    numbered = opt.save_by_iter and not by_time and not ending
                    save(f"iter_{place.total_iters}" if numbered else "latest")
                progress.step()
                if ending:
                    stop.asked = stop.asked or signal.SIGTERM
                    return
            place.pass_done()
        rate = model.update_learning_rate()
        place.epoch_done()
        best: Mapping[str, str] = {}
        if evaluated := evaluation is not None and evaluation.due(epoch):
            watch.settle()
            lines, sentence = evaluation.run(epoch, place.seconds)
            progress.say(sentence)
            visualizer.plot_metrics(epoch, lines)
            best = evaluation.kept
        numbered = (opt.save_epoch_freq > 0 and epoch % opt.save_epoch_freq == 0) or epoch == last_epoch
        if numbered:
            progress.say(f"saving the model at the end of epoch {epoch}, iters {place.total_iters}")
        if numbered or evaluated:
            save(epoch if numbered else "latest", best)
        taken = time.monotonic() - epoch_start
        progress.say(f"End of epoch {epoch} / {last_epoch} \t Time Taken: {taken:.0f} sec")
        progress.say(rate)


def go_on_command(opt: argparse.Namespace) -> str:
    """Return what to type to go on with this run."""
    start = distributed.start_words(distributed.world_size())
    words = [*start, "train.py", "--continue_train", "--name", opt.name]
    if Path(opt.checkpoints_dir) != Path("checkpoints"):
        words += ["--checkpoints_dir", opt.checkpoints_dir]
    return shlex.join(words)


def remember_end(opt: argparse.Namespace, place: Mapping[str, int], before: Mapping[str, Any]) -> None:
    """Remember where the plan so far ended, if the run came to that end: parts that take turns had a last one there."""
    last, known = before["n_epochs"] + before["n_epochs_decay"], getattr(opt, "earlier_ends", [])
    if (place["epoch"], place["turn"]) > (last, 0) and last not in known:
        opt.earlier_ends = [*known, last]


def make_progress(opt: argparse.Namespace, model: BaseModel, dataset: Loader, place: Place, pace: Pace) -> Progress:
    """Make the bar that counts the steps of the whole run."""
    epochs = range(opt.epoch_count, opt.n_epochs + opt.n_epochs_decay + 1)
    batch = opt.batch_size * distributed.world_size()
    steps = sum(len(model.passes(epoch)) for epoch in epochs) * math.ceil(len(dataset) / batch)
    return Progress(steps, steps / max(1, len(epochs)), done=place.steps, pace=pace)


def plan_evaluation(opt: argparse.Namespace) -> list[str]:
    """Settle on which images and by which metrics the run is evaluated; the first one ("none", too) decides."""
    wanted = opt.eval_freq > 0 or plugin_manager().get("models", opt.model).selects_on_held_out(opt)
    paired = opt.dataset_mode == "aligned"
    metric, reason = choose_metric(opt, paired) if wanted else ("none", "")
    # without --eval_freq only a teacher is chosen, and where no metric can choose it nothing is held out for that
    asked = opt.eval_freq > 0 or metric != "none"
    opt.held_out_from = settle_source(opt, asked, opt.held_out_from)
    if wanted:
        best = (
            "the latest counts as the best, no best_net is kept" if metric == "none" else f"best is the lowest {metric}"
        )
        print(f"evaluation on {images(opt)[0]}: {best} ({reason}; --best_metric chooses)")
        if opt.held_out_from == "train" and judged_phase(Path(opt.dataroot), opt.dataset_mode) == "val":
            print("they are taken from train (--holdout): val is the test set where there is no test folder")
    metrics = dict.fromkeys([metric, *(available(opt, paired) if opt.eval_freq > 0 else [])])
    return list(metrics) if set(metrics) != {"none"} else []


if __name__ == "__main__":
    main()
