"""Train a model: `python train.py --model crd --dataroot ./datasets/horse2zebra --name h2z`.

The order is upstream's: options, data, model, loop, save. `--continue_train --name h2z` goes on where a run stopped;
`torchrun --nproc_per_node=2 train.py …` trains one model with two processes, of which the first writes and speaks.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from data import Loader, create_dataset, held_out_dataset, settle_source, summarise
from models import create_model
from models.base_model import BaseModel
from models.evaluation import IMAGES, Evaluation
from options.base_options import refuse_to_overwrite, save_options
from options.train_options import TrainOptions
from util import distributed
from util.errors import for_people
from util.finite import FiniteWatch
from util.health import Health
from util.metrics.held_out import HeldOut, available, choose_metric
from util.plugin_manager import plugin_manager
from util.progress import Progress
from util.randomness import random_state, restore_random_state, seed_everything
from util.run import Place, Stopwatch
from util.visualizer import Silence, Visualizer


@for_people
@distributed.joined()
def main(argv: Sequence[str] | None = None) -> None:
    """Train as the options say."""
    opt = TrainOptions().parse(argv)
    refuse_to_overwrite(opt)
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
    state = model.load_state() if opt.continue_train else None
    if distributed.is_first():
        save_options(opt)
    visualizer = Visualizer(opt) if distributed.is_first() else Silence()
    place = Place(epoch=opt.epoch_count)
    if state:
        place = Place.from_state(state["place"])
        resume_process(state, model)
        visualizer.load_state_dict(state["visualizer"])
        if evaluation and state.get("evaluation"):
            evaluation.load_state_dict(state["evaluation"])
        print(f"going on in epoch {place.epoch}, after step {place.steps}")
    # closed before an error speaks, so that its sentence has a line of its own below the bar
    with contextlib.closing(visualizer), contextlib.closing(make_progress(opt, model, dataset, place)) as progress:
        train(opt, model, dataset, evaluation, visualizer, progress, place)


def train(
    opt: argparse.Namespace,
    model: BaseModel,
    dataset: Loader,
    evaluation: Evaluation | None,
    visualizer: Visualizer | Silence,
    progress: Progress,
    place: Place,
) -> None:
    """Run the epochs that are left, from `place` on."""
    last_epoch = opt.n_epochs + opt.n_epochs_decay
    if place.epoch > last_epoch:
        print(f"nothing is left to train: epoch {last_epoch} is the last; a larger --n_epochs goes on")
    whole_batch = opt.batch_size * distributed.world_size()
    watch, clock, health = FiniteWatch(), Stopwatch(), Health(progress.say)

    def save(name: int | str) -> None:
        watch.settle()  # a step that was not checked is never saved
        distributed.refuse_drift(model.networks())
        processes = distributed.gather(process_state(model)) if name == "latest" else []
        if not distributed.is_first():
            return
        model.save_networks(name)
        if name == "latest":
            visuals = visualizer.state_dict()
            scores = evaluation.state_dict() if evaluation else None
            progress = {"place": place.state_dict(), "random": random_state(), "visualizer": visuals}
            # the first process's own is where a single one's is
            model.save_state(progress | {"evaluation": scores, "processes": processes[1:]})

    for epoch in range(place.epoch, last_epoch + 1):
        epoch_start = time.monotonic()
        visualizer.reset()
        turns = model.passes(epoch)
        while place.turn < len(turns):
            model.begin_pass(turns[place.turn])
            if candidate := model.candidate():
                # all processes score, since norms may be shared by them, but only one decides
                score = distributed.from_first(evaluation.held_out.score(candidate) if evaluation else None)
                progress.say(model.judge(score))
            dataset.set_pass(place.passes, start=place.position)
            for data in clock.over(dataset):
                model.set_input(data)
                model.optimize_parameters()
                clock.stop()
                images = len(model.get_image_paths()) * distributed.world_size()
                place.stepped(images, clock.data + clock.step)
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
                    losses = distributed.mean(model.get_current_losses())
                    times = clock.step / whole_batch, clock.data
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
        if evaluation and evaluation.due(epoch):
            watch.settle()
            lines, sentence = evaluation.run(epoch, place.seconds)
            progress.say(sentence)
            visualizer.plot_metrics(epoch, lines)
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
    whole_batch = opt.batch_size * distributed.world_size()
    steps = sum(len(model.passes(epoch)) for epoch in epochs) * -(-len(dataset) // whole_batch)
    return Progress(steps, steps / max(1, len(epochs)), done=place.steps)


def process_state(model: BaseModel) -> dict[str, Any]:
    """Return what one process has to remember beside what all have in common: its randomness and its image pools."""
    return {"random": random_state(), "pools": {name: pool.state_dict() for name, pool in model.pools().items()}}


def resume_process(state: Mapping[str, Any], model: BaseModel) -> None:
    """Take up what `process_state` left."""
    processes = [{"random": state["random"], "pools": {}}, *state.get("processes", [])]
    distributed.refuse_other_number(len(processes), model.opt.name)
    own = processes[distributed.rank()]
    restore_random_state(own["random"])
    for name, pool in own["pools"].items():
        model.pools()[name].load_state_dict(pool, model.device)


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
        print(f"evaluation on {IMAGES[opt.held_out_from]}: {best} ({reason}; --best_metric chooses)")
    metrics = dict.fromkeys([metric, *(available(opt, paired) if opt.eval_freq > 0 else [])])
    return list(metrics) if set(metrics) != {"none"} else []


if __name__ == "__main__":
    main()
