"""Learning-rate schedules, stepped once per epoch, by upstream's names."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from torch.optim import Optimizer, lr_scheduler

from util.errors import UserError, nearest

LR_POLICIES = ("linear", "step", "plateau", "cosine")


def get_scheduler(optimizer: Optimizer, opt: Namespace) -> lr_scheduler.LRScheduler:
    """Return the schedule that `opt.lr_policy` names.

    linear: constant for `n_epochs`, then down to zero over `n_epochs_decay`. step: a tenth every `lr_decay_iters`.
    plateau: a fifth when the metric given to `step` stops falling. cosine: half a wave over `n_epochs`.
    """
    if opt.lr_policy == "linear":

        def share_left(epoch: int) -> float:
            return 1.0 - max(0, epoch + opt.epoch_count - opt.n_epochs) / (opt.n_epochs_decay + 1)

        return lr_scheduler.LambdaLR(optimizer, lr_lambda=share_left)
    if opt.lr_policy == "step":
        return lr_scheduler.StepLR(optimizer, step_size=opt.lr_decay_iters, gamma=0.1)
    if opt.lr_policy == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", factor=0.2, threshold=0.01, patience=5)
    if opt.lr_policy == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=opt.n_epochs, eta_min=0)
    raise UserError(f"there is no '{opt.lr_policy}' for --lr_policy; {nearest(opt.lr_policy, LR_POLICIES)}")


def resume_schedule(scheduler: Any, saved: dict[str, Any], scale: float) -> None:
    """Take up a schedule at the epoch where it was saved, under the rule of the present options.

    `scale` is the present `--lr` over the run's earlier one; the optimizer has been loaded already.
    """
    rule = {name: value for name, value in vars(scheduler).items() if name in ("step_size", "T_max", "min_lrs")}
    scheduler.load_state_dict(saved)
    vars(scheduler).update(rule)
    for group in scheduler.optimizer.param_groups:
        for name in {"lr", "initial_lr"} & group.keys():
            group[name] *= scale
    scheduler.base_lrs = [group.get("initial_lr", group["lr"]) for group in scheduler.optimizer.param_groups]
    if isinstance(
        scheduler, lr_scheduler.LambdaLR
    ):  # a function of the epoch alone: more epochs may have been asked for
        for group, rate, share in zip(
            scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = rate * share(scheduler.last_epoch)
