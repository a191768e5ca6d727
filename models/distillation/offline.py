"""Offline distillation: a whole narrow GAN learns as its base model does, and from a frozen, pre-trained teacher."""

from __future__ import annotations

import argparse
from collections import OrderedDict
from collections.abc import Mapping, Set
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from models.base_model import BaseModel, Direction, Translator
from models.distillation.distiller import DistillModel, student_taps, teacher_taps
from models.distillation.features import FeatureTaps
from models.distillation.objectives import NEEDS, Objective, Translation, resume_objectives
from models.distillation.teacher import Teacher, image_channels, load_teachers, refuse_narrower, teacher_architecture
from models.optimizer_state import add_part
from models.parallel import parallel
from models.training_facts import steps_of_teacher
from util.image_pool import ImagePool
from util.plugin_manager import plugin_manager

LIKE_TEACHER = ("netG", "norm", "netD", "n_layers_D", "ndf")  # a student is a narrower teacher with as good a judge
IMAGES_ONLY = "an images-only teacher has none"


class Distilled:
    """One direction that is distilled: the names of its tensors, its teacher, objectives and taps."""

    def __init__(self, direction: Direction, teacher: Teacher, objectives: list[Objective], suffix: str) -> None:
        self.direction, self.teacher, self.objectives, self.suffix = direction, teacher, objectives, suffix
        self.taps_S: FeatureTaps | None = None
        self.taps_T: FeatureTaps | None = None
        self.image_T: Tensor
        self.features_T: dict[str, Tensor] = {}


class OfflineDistillModel(DistillModel):
    """A student that is a whole base model of its own (`--netG --ngf --norm`), with a teacher's help; both directions.

    The teacher is in eval-like use: no gradients, no dropout, statistics untouched, and not among the saved networks.
    """

    @classmethod
    def modify_commandline_options(cls, parser: Any, is_train: bool) -> Any:
        """Add the flags of the teacher."""
        super().modify_commandline_options(parser, is_train)
        if is_train:
            add = parser.add_argument
            add("--teacher", default=None, help="experiment in checkpoints_dir that trained the teacher, or a G's file")
            add("--teacher_epoch", default="latest", help="which epoch of the teacher to load")
            add("--teacher_eval", action="store_true", help="running statistics in the teacher's batch norms")
            images = "instead of --teacher: a folder of translations of the source images, by the images' names"
            add("--teacher_images", default=None, help=images)
            options = parser.peek()
            first = plugin_manager().get("models", options.base).directions[0].netG
            architecture = teacher_architecture(options, first)
            parser.set_defaults(**{name: architecture[name] for name in LIKE_TEACHER if name in architecture})
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        base = plugin_manager().get("models", opt.base)
        self.student: BaseModel = base(opt)
        self.optimizers = self.student.optimizers
        self.losses: dict[str, Tensor] = {}
        self.distilled: list[Distilled] = []
        self.masks: dict[str, Tensor] = {}
        self.notes: list[str] = []
        if self.isTrain:
            self._prepare_training(opt)

    def _prepare_training(self, opt: argparse.Namespace) -> None:
        directions = self.student.directions
        teachers = load_teachers(opt, directions, self.device)
        opt.teacher_steps = steps_of_teacher(opt, directions[0].netG)  # saved with the options, for lines of results
        has = ["student_discriminator"] + (["both_directions"] if len(teachers) == len(directions) == 2 else [])
        for direction in directions:
            teacher = teachers.get(direction.netG)
            if teacher is None:
                self.notes.append(f"the teacher has no {direction.netG}: that direction learns alone")
                continue
            networks = {"features": teacher.netG, "teacher_discriminator": teacher.netD}
            offers = has + [name for name, network in networks.items() if network is not None]
            netG_S = getattr(self.student, "net" + direction.netG)
            refuse_narrower(opt, teacher, netG_S)
            why_not = f"{opt.teacher} has it not ({teacher.words})" if teacher.netG else IMAGES_ONLY
            source_nc = image_channels(opt, direction)[0]
            objectives = self.build_objectives(offers, netG_S, teacher.netG, direction, why_not)
            one = Distilled(direction, teacher, objectives, direction.netG[1:])
            if teacher.netG is not None and any("features" in objective.needs for objective in objectives):
                one.taps_S = FeatureTaps(netG_S, student_taps(opt, netG_S), source_nc)
                one.taps_T = FeatureTaps(teacher.netG, teacher_taps(opt, teacher.netG), source_nc)
            self.distilled.append(one)
            self.student.discriminator_terms[direction.netD] = partial(self.discriminator_term, one)
            self.notes.append(teacher.words)
            if teacher.netG is not None and teacher.netD is None:
                self.notes[-1] += self.others_with(NEEDS.keys() - {"teacher_discriminator"}, "; ")
        if not self.named_objectives():
            self.notes.append("nothing is learned from the teacher: the weights of all its objectives are 0")
        self.student.generator_terms.append(self.generator_term)
        for part, objective in self.named_objectives().items():  # adapters are trained by the student's optimizer
            add_part(self.optimizers[0], part, objective.parameters())

    def setup(self, opt: argparse.Namespace) -> str:
        """Say where the teachers come from, too."""
        return "\n".join([*self.notes, super().setup(opt)])

    def distribute(self, trained: Set[nn.Parameter]) -> list[nn.Module]:
        """Wrap the student's networks and the objectives' adapters; the teachers never change."""
        for one in self.distilled:
            one.objectives = [parallel(objective, trained) for objective in one.objectives]
        return self.student.distribute(trained) + [objective for one in self.distilled for objective in one.objectives]

    # ---- one step ------------------------------------------------------------------------------------------------------

    def set_input(self, input: Mapping[str, Any]) -> None:
        """Take a batch; the student does it, since it knows the direction."""
        self.student.set_input(input)
        self.image_paths = self.student.image_paths
        self.masks = self.companions(input, "mask", "masks")
        images = self.companions(input, "teacher", "teacher_images")
        for one in self.distilled:
            if one.teacher.netG is None:
                one.image_T = images[one.direction.source]

    def forward(self) -> None:
        """Translate with the student."""
        self.student.forward()

    def optimize_parameters(self) -> None:
        """Translate with the teachers, then let the student take its own step, in which the objectives have their say."""
        self.losses = {}
        for one in self.distilled:
            for taps in (one.taps_S, one.taps_T):
                if taps:
                    taps.clear(getattr(self.student, one.direction.source))
            if one.teacher.netG is not None:
                one.image_T = one.teacher.translate(getattr(self.student, one.direction.source))
            one.features_T = one.taps_T.take(detach=True) if one.taps_T else {}
        self.student.optimize_parameters()

    def translations(self, one: Distilled) -> tuple[Translation, Translation]:
        """Return the student's and the teacher's view of the current images of one direction."""
        names = one.direction
        source, target = getattr(self.student, names.source), getattr(self.student, names.target)
        images = (getattr(self.student, names.image), one.image_T)
        student, teacher = (Translation(source, i, target, one.teacher.netD, names.conditional) for i in images)
        student.mask = teacher.mask = self.masks.get(names.source)
        student.loaded = teacher.loaded = True
        teacher.features = one.features_T
        return student, teacher

    def generator_term(self) -> Tensor:
        """Return what the objectives add to the generators' loss."""
        terms = [torch.zeros((), device=self.device)]
        for one in self.distilled:
            student, teacher = self.translations(one)
            student.features = one.taps_S.take() if one.taps_S else {}
            for objective in one.objectives:
                losses = objective(student, teacher)
                self.losses |= {self.label(f"G_{name}", one): loss for name, loss in losses.items()}
                terms += losses.values()
        return torch.stack(terms).sum()

    def discriminator_term(self, one: Distilled) -> Tensor:
        """Return what the objectives add to the loss of the student's own discriminator of one direction."""
        network = getattr(self.student, "net" + one.direction.netD)
        student, teacher = self.translations(one)
        student.image = student.image.detach()
        terms = [torch.zeros((), device=self.device)]
        for objective in one.objectives:
            losses = objective.discriminator(network, student, teacher)
            self.losses |= {self.label(f"D_{name}", one): loss for name, loss in losses.items()}
            terms += losses.values()
        return torch.stack(terms).sum()

    def label(self, name: str, one: Distilled) -> str:
        """Return what a loss is called: no objective's hides one of the student's own, such as Pix2Pix's G_GAN."""
        label = name + one.suffix
        return f"{name}_teacher{one.suffix}" if label in self.student.loss_names else label

    # ---- what others look at -------------------------------------------------------------------------------------------

    def networks(self) -> dict[str, nn.Module]:
        """Return the student's networks under their bare names."""
        return self.student.networks()

    def translators(self) -> dict[str, Translator]:
        """Return the student's generators."""
        return self.student.translators()

    def pools(self) -> dict[str, ImagePool]:
        """Return the student's."""
        return self.student.pools()

    def frozen_networks(self) -> list[nn.Module]:
        """Return the teachers' networks, and what the objectives look through."""
        teachers = [network for one in self.distilled for network in (one.teacher.netG, one.teacher.netD)]
        return [network for network in teachers if network is not None] + [
            part for one in self.distilled for part in self.backbones(one.objectives)
        ]

    def current_losses(self) -> OrderedDict[str, Tensor]:
        """Return the student's own losses, then the objectives'."""
        return OrderedDict(self.student.current_losses() | self.losses)

    def compute_visuals(self) -> None:
        """Let the objectives draw what they saw."""
        self.student.compute_visuals()
        self.pictures: dict[str, Tensor] = {}
        for one in self.distilled:
            for objective in one.objectives:
                self.pictures |= {f"{label}{one.suffix}": image for label, image in objective.visuals().items()}

    def get_current_visuals(self) -> OrderedDict[str, Tensor]:
        """Return the student's images, each translation beside its teacher's."""
        visuals: OrderedDict[str, Tensor] = OrderedDict()
        teachers = {one.direction.image: one.image_T for one in self.distilled if hasattr(one, "image_T")}
        for label, image in self.student.get_current_visuals().items():
            visuals[label] = image
            if label in teachers:
                visuals[f"teacher_{label}"] = teachers[label]
        return OrderedDict(visuals | getattr(self, "pictures", {}))

    def named_objectives(self) -> dict[str, Objective]:
        """Return the objectives of all directions, by a name that each has in every run."""
        return {f"{objective.name}{one.suffix}": objective for one in self.distilled for objective in one.objectives}

    def extra_state(self) -> dict[str, Any]:
        """Return the student's own extras and the objectives' adapters."""
        states = {part: objective.state_dict() for part, objective in self.named_objectives().items()}
        return {"student": self.student.extra_state(), "objectives": states}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `extra_state` left."""
        self.student.load_extra_state(state["student"])
        resume_objectives(self.named_objectives(), state["objectives"])
