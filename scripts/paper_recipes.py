"""How each published row is run here: commands to train, test and evaluate, or the reason why it can't be."""

from __future__ import annotations

from dataclasses import dataclass, field

from scripts.paper_studies import ALONE, DISTILLATIONS, HUNDRED, ONLY_L1, OURS, SEARCHES, STUDIES, TEACHERS
from scripts.paper_table import Network, Row, network_of
from scripts.published import COUNTS


@dataclass(frozen=True)
class Place:
    """A data set: the start of its runs' names, its folder, how it comes there, and how many images it is tested on."""

    short: str
    folder: str
    fetch: str
    tests: int
    tests_B: int = 0


def _fetched(kind: str, short: str, name: str, *splits: str) -> Place:
    counts = COUNTS[f"{kind}_dataset", name]
    return Place(
        short, name, f"bash ./datasets/download_{kind}_dataset.sh {name}", *(counts[split] for split in splits)
    )


PLACES = {
    "horse2zebra": _fetched("cyclegan", "h2z", "horse2zebra", "testA", "testB"),
    "summer2winter": _fetched("cyclegan", "s2w", "summer2winter_yosemite", "testA", "testB"),
    "edges2shoes": _fetched("pix2pix", "e2s", "edges2shoes", "val"),
    "cityscapes": Place("cityscapes", "cityscapes", "", 500, 500),
}
PLACES["zebra2horse"] = PLACES["horse2zebra"]


@dataclass(frozen=True)
class Run:
    """A training: its name, its place and the flags that make it."""

    name: str
    model: str
    base: str
    place: Place
    flags: str = ""
    needs: tuple[Run, ...] = field(default=())

    @property
    def train(self) -> str:
        """Return the command."""
        base = "" if self.model == self.base else f"--base {self.base}"
        words = [f"python train.py --model {self.model}", base, f"--dataroot ./datasets/{self.place.folder}"]
        return " ".join(word for word in [*words, f"--name {self.name}", self.flags] if word)


@dataclass(frozen=True)
class Recipe:
    """What makes a row's pictures, and its score if the metric is here."""

    run: Run
    test: str
    evaluate: str = ""

    @property
    def commands(self) -> tuple[str, ...]:
        """Return what is typed after the training."""
        return (self.test, self.evaluate) if self.evaluate else (self.test,)


def recipe(row: Row) -> Recipe | str:
    """Return how a row is run, or why it is not."""
    if row.model.startswith("Pix2PixHD"):
        return "Pix2PixHD's generator is not here"
    if row.method == "Ground truth":
        return "scores the photographs themselves: nothing is trained"
    if row.method in SEARCHES:
        return "searches or prunes the architecture: not here"
    missing = next((what for words, what in DISTILLATIONS.items() if row.method.startswith(words)), None)
    if missing:
        return f"{missing} is not here yet"
    run = run_of(row)
    return Recipe(run, test_command(run, row), evaluate_command(run, row))


def run_of(row: Row) -> Run:
    """Return the training of a row."""
    if row.method in TEACHERS or row.method in ALONE:
        return plain(row)
    if row.method.startswith("Hinton"):
        # on top of the base's own losses, with the weight that the paper does not tell
        flags = f"{ONLY_L1} --lambda_image_l1 10" + (" --lambda_L1 100" if is_paired(row) else "")
        return offline(row, "portable", "reko_hinton", flags)
    suffix, flags = ("", "") if row.method in OURS else STUDIES[row.paper][row.method]
    if row.paper in ("reko", "portable"):
        return offline(row, row.paper, f"{row.paper}{suffix and '_' + suffix}", flags)
    return online(row, suffix, flags)


def is_paired(row: Row) -> bool:
    """Tell whether a row is Pix2Pix's."""
    return row.model.startswith("Pix2Pix")


def shared_flags(row: Row) -> list[str]:
    """Return what all plain and offline runs of a row's kind type: labels to photographs, Portable's weight of the truth."""
    paired = is_paired(row)
    from_labels = ["--direction BtoA"] if paired and row.dataset == "cityscapes" else []
    return from_labels + (["--lambda_L1 1"] if paired and row.paper == "portable" else [])


def plain(row: Row, network: Network | None = None) -> Run:
    """Return a base model without a teacher, of a row's own generator or another: teacher, original, student alone."""
    network, place = network or network_of(row), PLACES[row.dataset]
    assert network is not None
    base = "pix2pix" if is_paired(row) else "cycle_gan"
    truth1 = "_truth1" if "--lambda_L1 1" in shared_flags(row) else ""
    mobile = network.netG.startswith("mobile")  # the students of CRD, alone for as long as with a teacher
    name = f"{place.short}_{base.replace('_', '')}{'_mobile' if mobile else ''}{truth1}_ngf{network.ngf}"
    flags = [f"--netG {network.netG}"] if mobile else []
    flags += [*shared_flags(row), f"--ngf {network.ngf}", HUNDRED if mobile else ""]
    return Run(name, base, base, place, " ".join(flags).strip())


def offline(row: Row, model: str, what: str, flags: str) -> Run:
    """Return a student of a teacher that is trained before it."""
    network, place = network_of(row), PLACES[row.dataset]
    assert network is not None
    teacher = plain(row, network._replace(ngf=64))
    words = [f"--teacher {teacher.name}", f"--ngf {network.ngf}", flags]
    # Portable GAN's weight of the truth is its model's default
    words += [word for word in shared_flags(row) if model != "portable" or not word.startswith("--lambda_L1")]
    kind = "_unpaired" if place.short == "cityscapes" and not is_paired(row) else ""
    name = f"{place.short}{kind}_{what}_ngf{network.ngf}"
    return Run(name, model, teacher.base, place, " ".join(word for word in words if word), (teacher,))


def online(row: Row, suffix: str, flags: str) -> Run:
    """Return a student of a teacher that is trained beside it."""
    place = PLACES[row.dataset]
    needs: tuple[Run, ...] = ()
    if "{D}" in flags:
        needs = (plain(row, Network("resnet_9blocks", 64)),)
        flags = flags.format(D=f"./checkpoints/{needs[0].name}/latest_net_D_A.pth")
    interval = "--teacher_interval 6" if (row.paper, row.dataset) == ("crd", "summer2winter") else ""
    words = [flags, interval, HUNDRED]
    base = "pix2pix" if is_paired(row) else "cycle_gan"
    name = f"{place.short}_{row.paper}{suffix and '_' + suffix}"
    return Run(name, row.paper, base, place, " ".join(word for word in words if word), needs)


def test_command(run: Run, row: Row) -> str:
    """Return the command that makes the pictures of a row: of all test images, by its direction."""
    place = run.place
    words = f"python test.py --name {run.name} --dataroot ./datasets/{place.folder}"
    if run.base == "pix2pix":
        # CRD's and DCD's code tests in eval mode; Portable GAN as in training, without dropout
        mode = " --eval" if run.model in ("crd", "dcd") else " --no_dropout" if row.paper == "portable" else ""
        return f"{words} --model pix2pix --phase val --num_test {place.tests}{mode}"
    if run.model in ("crd", "dcd"):
        return f"{words}/testA --model test --num_test {place.tests}"
    if row.dataset in ("zebra2horse", "cityscapes"):  # CycleGAN's cityscapes has photographs in A and labels in B
        there = f" --results_dir ./results/{row.dataset}" if row.dataset == "zebra2horse" else ""
        return f"{words}/testB --model test --model_suffix _B --num_test {place.tests_B}{there}"
    return f"{words}/testA --model test --model_suffix _A --num_test {place.tests}"


def evaluate_command(run: Run, row: Row) -> str:
    """Return the command that scores a run as the row's paper does, or nothing if that takes a segmentation network."""
    if row.metric != "FID":
        return ""
    words = f"python evaluate.py --name {run.name} --metrics fid"
    if run.base == "pix2pix":
        return f"{words} --phase val" + (" --eval" if run.model in ("crd", "dcd") else "")
    # CRD's and DCD's code compares with all real images of the target domain; ReKo does not tell
    return words + (" --protocol train+test" if row.paper in ("crd", "dcd") else "")
