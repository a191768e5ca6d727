"""Online distillation: a whole teacher GAN learns from scratch, and a narrow student generator learns from it."""

from __future__ import annotations

import argparse
import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.base_model import BaseModel, Direction, Translator
from models.distillation.distiller import DistillModel, student_taps, teacher_taps
from models.distillation.features import FeatureTaps
from models.distillation.frozen import frozen, keep_statistics, translating
from models.distillation.objectives import Translation, resume_objectives
from models.gan_step import make_adam
from models.loading import fit_or_explain, load_network
from models.networks import define_G
from models.optimizer_state import add_part
from models.parallel import bare, parallel
from util.checkpoint import network_state
from util.errors import UserError
from util.image_pool import ImagePool
from util.plugin_manager import plugin_manager

TEACHER, STUDENT, BOTH = "teacher", "student", "all"
OFFERED = ("features", "teacher_discriminator")  # what an online teacher has for every objective


class OnlineDistillModel(DistillModel):
    """A student generator taught by a base model that is trained beside it; a method names the objectives.

    `joint`: every step trains both, the student last, on the teacher's image from before the teacher's update.
    `interleaved`: some epochs of the teacher alone, then as many of the student against the best teacher so far.
    """

    @classmethod
    def modify_commandline_options(cls, parser: Any, is_train: bool) -> Any:
        """Add the flags of the teacher and of the schedule."""
        super().modify_commandline_options(parser, is_train)
        add = parser.add_argument
        add("--teacher_netG", default=None, help="generator of the teacher (default: that of the student)")
        add("--teacher_ngf", type=int, default=64, help="# of gen filters in the teacher's last conv layer")
        if is_train:
            add("--schedule", choices=("joint", "interleaved"), default="joint", help="who trains when")
            add("--teacher_interval", type=int, default=10, help="interleaved: epochs of the teacher between turns")
            add("--student_ratio", type=int, default=1, help="interleaved: student epochs per teacher epoch")
            judges = ("frozen", "collaborative", "absent")
            judge_help = (
                "(CRD 12, DCD 7) the teacher's D for the student: constant; learning from its images too; not used"
            )
            add("--student_discriminator", choices=judges, default="frozen", help=judge_help)
            add("--pretrained_D", default=None, help="start the teacher's D from this file instead of from scratch")
            add("--freeze_D", action="store_true", help="never train the D of --pretrained_D")
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        base = plugin_manager().get("models", opt.base)
        self.direction: Direction = base.directions[0]
        generator = (opt.ngf, opt.netG, opt.norm, not opt.no_dropout, opt.init_type, opt.init_gain)
        self.netG = define_G(opt.input_nc, opt.output_nc, *generator).to(self.device)
        self.model_names = ["G"]
        self.visual_names = ["real_A", "fake_B"] + (["real_B"] if self.direction.conditional else [])
        self.pictures: dict[str, Tensor] = {}
        self.mask: Tensor | None = None
        self.teacher: BaseModel | None = None
        if self.isTrain:
            self._prepare_training(base, opt)

    def _prepare_training(self, base: type[BaseModel], opt: argparse.Namespace) -> None:
        refuse_narrower(opt)
        self.teacher = base(teacher_options(opt))
        self.netG_T: nn.Module = getattr(self.teacher, "net" + self.direction.netG)
        self.netD_T: nn.Module = getattr(self.teacher, "net" + self.direction.netD)
        self._prepare_discriminator(self.teacher, opt)
        why_not = "a teacher that is trained beside its student teaches one direction, and its D judges both"
        self.objectives = self.build_objectives(OFFERED, self.netG, self.netG_T, self.direction, why_not)
        if not self.objectives:
            raise UserError("the student has nothing to learn: the weights of all its objectives are 0")
        self.optimizer_S = make_adam(self.netG.parameters(), opt)
        for objective in self.objectives:
            add_part(self.optimizer_S, objective.name, objective.parameters())
        self.optimizers = [self.optimizer_S, *self.teacher.optimizers]
        self.losses: dict[str, Tensor] = {}
        self.tried = opt.schedule == "joint"  # where all learn in every step, the first one tells what does not fit
        self.turn, self.judging = (BOTH, False) if opt.schedule == "joint" else (TEACHER, False)
        self.best_G_T = copy.deepcopy(self.netG_T) if opt.schedule == "interleaved" else None
        self.best_score: float | None = None
        self.tap(opt)
        self.visual_names.insert(2, "teacher_fake_B")

    def tap(self, opt: argparse.Namespace) -> None:
        """Read the generators' features, if an objective needs them."""
        self.taps_S, self.taps_T, self.taps_best = None, None, None
        if any("features" in objective.needs for objective in self.objectives):
            self.taps_S = FeatureTaps(self.netG, student_taps(opt, self.netG), opt.input_nc)
            self.taps_T = FeatureTaps(self.netG_T, teacher_taps(opt, self.netG_T), opt.input_nc)
            if self.best_G_T is not None:
                self.taps_best = FeatureTaps(self.best_G_T, self.taps_T.names, opt.input_nc)

    def _prepare_discriminator(self, teacher: BaseModel, opt: argparse.Namespace) -> None:
        """Start the judging D from a file, keep it as it is, or let it learn from the student's images, as asked."""
        name = self.direction.netD
        if opt.freeze_D and not opt.pretrained_D:
            raise UserError("--freeze_D keeps a trained discriminator; name its file with --pretrained_D")
        if opt.freeze_D and opt.student_discriminator == "collaborative":
            raise UserError(
                "--student_discriminator collaborative trains the D that --freeze_D keeps; leave one of them out"
            )
        if opt.pretrained_D:
            load_network(self.netD_T, Path(opt.pretrained_D))
        if opt.freeze_D:
            keep_statistics(self.netD_T)
            kept = set(self.netD_T.parameters())
            for group in (group for optimizer in teacher.optimizers for group in optimizer.param_groups):
                group["params"] = [parameter for parameter in group["params"] if parameter not in kept]
        if opt.student_discriminator == "collaborative":
            teacher.discriminator_terms[name] = self.discriminator_term

    @classmethod
    def selects_on_held_out(cls, opt: argparse.Namespace) -> bool:
        """Interleaved students learn from the best teacher so far, and "best" is judged on images it never saw."""
        return opt.schedule == "interleaved"

    @classmethod
    def needs_both_sides(cls, opt: argparse.Namespace) -> bool:
        """A trained student translates one side alone."""
        return bool(opt.isTrain)

    def distribute(self, trained: Set[nn.Parameter]) -> list[nn.Module]:
        """Wrap the student, the teacher's networks and the objectives' adapters; the best teacher only shows."""
        assert self.teacher is not None
        self.objectives = [parallel(objective, trained) for objective in self.objectives]
        return [*super().distribute(trained), *self.teacher.distribute(trained), *self.objectives]

    # ---- the two parts' turns ------------------------------------------------------------------------------------------

    def passes(self, epoch: int) -> list[str]:
        """Name the turns of a (teacher) epoch: at the end of a block the student's turns follow."""
        opt = self.opt
        if opt.schedule == "joint":
            return [BOTH]
        earlier = getattr(opt, "earlier_ends", ())  # where the student had a turn because the plan then ended
        start = max((end for end in earlier if end < epoch), default=0)
        block = (epoch - start - 1) % opt.teacher_interval + 1  # teacher epochs since the student's last turn
        ends = block == opt.teacher_interval or epoch in (*earlier, opt.n_epochs + opt.n_epochs_decay)
        return [TEACHER] + ([STUDENT] * (block * opt.student_ratio) if ends else [])

    def begin_pass(self, name: str) -> None:
        """Let the teacher, the student or both learn in the coming pass."""
        self.judging = name == STUDENT and self.turn == TEACHER
        self.turn = name

    def candidate(self) -> Callable[[Tensor], Tensor] | None:
        """When the student's turn begins, the teacher as it is now may become the one to learn from."""
        return translating(self.netG_T) if self.judging else None

    def judge(self, score: float | None) -> str:
        """Learn from the present teacher if no earlier one had a better (lower) held-out score."""
        assert self.best_G_T is not None
        self.judging = False
        where = "test-set" if self.opt.protocol == "paper" else "held-out"
        if score is not None and self.best_score is not None and not score < self.best_score:
            return f"teacher: {where} score {score:.5g} does not beat {self.best_score:.5g}; the earlier one teaches"
        self.best_G_T.load_state_dict(self.netG_T.state_dict())
        self.best_score = score
        return (
            "teacher: the latest teaches" if score is None else f"teacher: {where} score {score:.5g} is the best so far"
        )

    def translators(self) -> dict[str, Translator]:
        """Return the student, and the teacher as it is now."""
        teacher = {"G_teacher": Translator(self.netG_T, teaches=True)} if self.teacher is not None else {}
        return {"G": Translator(bare(self.netG)), **teacher}

    # ---- one step ------------------------------------------------------------------------------------------------------

    def set_input(self, input: Mapping[str, Any]) -> None:
        """Take a batch; the base model does it, since it knows the direction."""
        if self.teacher is None:
            self._set_test_input(input)
            return
        self.teacher.set_input(input)
        self.mask = self.companions(input, "mask", "masks").get(self.direction.source)
        self.real_A = getattr(self.teacher, self.direction.source)
        self.real_B = getattr(self.teacher, self.direction.target)
        self.image_paths = self.teacher.image_paths

    def _set_test_input(self, input: Mapping[str, Any]) -> None:
        source, target = ("A", "B") if self.opt.direction == "AtoB" or "B" not in input else ("B", "A")
        self.real_A = input[source].to(self.device)
        if target in input:
            self.real_B = input[target].to(self.device)
        self.image_paths = input[f"{source}_paths"]

    def forward(self) -> None:
        """Translate with the student."""
        self.fake_B = self.netG(self.real_A)

    def optimize_parameters(self) -> None:
        """Run one step of whoever's turn it is."""
        assert self.teacher is not None
        self.losses = {}
        for taps in (self.taps_S, self.taps_T, self.taps_best):
            if taps:
                taps.clear()
        if self.turn == TEACHER:
            if not self.tried:
                self._try_objectives()
            if self.opt.student_discriminator == "collaborative":
                self._look_at_student()
            self.teacher.optimize_parameters()
            return
        self.forward()
        if self.turn == BOTH:
            self.teacher.optimize_parameters()
            self.teacher_fake_B = getattr(self.teacher, self.direction.image).detach()
        else:
            assert self.best_G_T is not None
            with torch.no_grad(), frozen(self.best_G_T):
                self.teacher_fake_B = self.best_G_T(self.real_A)
        self.optimize_student()
        if self.turn == STUDENT and self.opt.student_discriminator == "collaborative":
            setattr(self.teacher, self.direction.image, self.teacher_fake_B)
            self.teacher.optimize_discriminator(self.direction.netD)

    def _try_objectives(self) -> None:
        """Ask copies of the objectives about the first images: what does not fit them is said now, not epochs later.

        Nothing changes by it, nor does the course of randomness.
        """
        assert self.best_G_T is not None
        self.tried = True
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices), frozen(self.netG), frozen(self.best_G_T), frozen(self.netD_T):
            with torch.no_grad():
                self.forward()
                self.teacher_fake_B = self.best_G_T(self.real_A)
            student, teacher = self.translations()
            student.image = student.image.detach().requires_grad_()  # an objective may ask for its gradient
            if self.taps_S and self.taps_best:
                student.features, teacher.features = self.taps_S.take(), self.taps_best.take(detach=True)
            for objective in self.objectives:
                copy.deepcopy(bare(objective))(student, teacher)

    def optimize_student(self) -> None:
        """Update the student, and nothing else, by the sum of its objectives."""
        student, teacher = self.translations()
        if self.taps_S and (taps_T := self.taps_best if self.turn == STUDENT else self.taps_T):
            student.features, teacher.features = self.taps_S.take(), taps_T.take(detach=True)
        with frozen(self.netD_T):
            for objective in self.objectives:
                self.losses |= objective(student, teacher)
        self.optimizer_S.zero_grad(set_to_none=True)
        torch.stack(list(self.losses.values())).sum().backward()
        self.optimizer_S.step()

    def translations(self) -> tuple[Translation, Translation]:
        """Return the student's and the teacher's view of the current images."""
        images = (self.fake_B, self.teacher_fake_B)
        views = [Translation(self.real_A, i, self.real_B, self.netD_T, self.direction.conditional) for i in images]
        for view in views:
            view.mask = self.mask
        return views[0], views[1]

    def discriminator_term(self) -> Tensor:
        """Return what a collaborative discriminator learns from the student's images, within its own step."""
        assert self.teacher is not None
        self.teacher_fake_B = getattr(self.teacher, self.direction.image).detach()
        student, teacher = self.translations()
        terms = [o.discriminator(self.netD_T, student, teacher) for o in self.objectives]
        losses = [loss for term in terms for loss in term.values()]
        return torch.stack(losses).sum() if losses else torch.zeros((), device=self.device)

    def _look_at_student(self) -> None:
        """Translate with the student without changing it."""
        with torch.no_grad(), frozen(self.netG):
            self.forward()

    # ---- what others look at -------------------------------------------------------------------------------------------

    def networks(self) -> dict[str, nn.Module]:
        """Return the student under its bare name, and the teacher's networks as G_teacher…, D_teacher…"""
        networks: dict[str, nn.Module] = {"G": bare(self.netG)}
        if self.teacher is not None:
            networks |= {f"{name[0]}_teacher{name[1:]}": net for name, net in self.teacher.networks().items()}
        return networks

    def pools(self) -> dict[str, ImagePool]:
        """Return the teacher's."""
        return self.teacher.pools() if self.teacher is not None else {}

    def frozen_networks(self) -> list[nn.Module]:
        """Return the best teacher so far, and what the objectives look through."""
        best = [] if self.best_G_T is None else [self.best_G_T]
        return [*best, *self.backbones(self.objectives)]

    def current_losses(self) -> OrderedDict[str, Tensor]:
        """Return the losses of those who learned in this step, the teacher's under names of their own."""
        losses = OrderedDict((f"G_{name}", loss) for name, loss in self.losses.items())
        if self.turn != STUDENT and self.teacher is not None:
            losses.update((f"teacher_{name}", loss) for name, loss in self.teacher.current_losses().items())
        return losses

    def compute_visuals(self) -> None:
        """While only the teacher learns, show what the student makes of the same image."""
        if self.teacher is not None and self.turn == TEACHER:
            self._look_at_student()
            self.teacher_fake_B = getattr(self.teacher, self.direction.image).detach()
        for objective in self.objectives if self.teacher is not None else []:
            self.pictures |= objective.visuals()

    def get_current_visuals(self) -> OrderedDict[str, Tensor]:
        """Add the objectives' own pictures to the images."""
        return OrderedDict(super().get_current_visuals() | self.pictures)

    def extra_state(self) -> dict[str, Any]:
        """Return the teacher's own extras, the objectives' adapters, the best teacher and whose turn it is."""
        assert self.teacher is not None
        return {
            "teacher": self.teacher.extra_state(),
            "objectives": {objective.name: objective.state_dict() for objective in self.objectives},
            "best_G_T": network_state(self.best_G_T) if self.best_G_T is not None else None,
            "best_score": self.best_score,
            "turn": self.turn,
        }

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `extra_state` left."""
        assert self.teacher is not None
        self.teacher.load_extra_state(state["teacher"])
        resume_objectives({objective.name: objective for objective in self.objectives}, state["objectives"])
        if self.best_G_T is not None and state["best_G_T"] is not None:
            fit_or_explain(self.best_G_T, state["best_G_T"], self.save_dir)
        self.best_score, self.turn = state["best_score"], state["turn"]


def refuse_narrower(opt: argparse.Namespace) -> None:
    """Refuse a teacher of the student's kind that is narrower than the student."""
    if (opt.teacher_netG or opt.netG) == opt.netG and opt.teacher_ngf < opt.ngf:
        raise UserError(
            f"the teacher is narrower than its student: --teacher_ngf {opt.teacher_ngf}, and --ngf {opt.ngf} is the "
            f"student's; type --teacher_ngf {opt.ngf} or more, or --ngf {opt.teacher_ngf} or less"
        )


def teacher_options(opt: argparse.Namespace) -> argparse.Namespace:
    """Return the options of the teacher: the student's, but for the generator."""
    options = copy.copy(opt)
    options.netG, options.ngf = opt.teacher_netG or opt.netG, opt.teacher_ngf
    return options
