"""Bring what the runs left into the report's folder: lines, facts of the runs, loss curves, test pictures."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from comparison.engine import Study
from comparison.plan import ALONE, MASKED, SAME_SECONDS, TEACHER, Plan
from comparison.runs import Run, picture_words, pictures_of, source_folder, tested_images
from comparison.words import slug
from util.files import replacing, write_text
from util.metrics.masked import masked_error
from util.metrics.record import metric_line
from util.provenance import append_lines, read_lines, sha256

PLAN, LINES, RUNS, CURVES, PICTURES = "plan.toml", "lines.jsonl", "runs.jsonl", "curves.jsonl", "pictures"
COPIED = "copied.txt"  # in the folder of pictures: those that are the report's
LOSS_LINE = re.compile(r"\(epoch: (\d+), iters: (\d+),[^)]*\) (.*)")
POINTS = 60  # of a loss curve: more can't be told apart on a page
ENLARGED = 256  # pixels: larger test pictures are scaled down for the page
EXACT = 96  # pixels: pictures up to this side are kept without loss


def gather(study: Study, out: Path, plan_file: Path) -> list[str]:
    """Write the report's sources into `out`; return the runs that are not done yet."""
    plan, left = study.plan, []
    lines: list[dict[str, Any]] = []
    runs: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for run in study.runs:
        if not study.trained(run):
            left.append(run.experiment)
            continue
        if MASKED in plan.metrics:
            score_masked(study, run)
        own = read_lines(run.folder(plan) / "metrics.jsonl")
        unfinished = not own or bool(study.commands(run))
        if unfinished:
            left.append(run.experiment)
        where = {"row": run.row, "width": run.width, "run_seed": run.seed}
        facts = facts_of(study, run) | ({"unfinished": True} if unfinished else {})
        lines += [where | line for line in own]
        runs.append(where | facts)
        if run.seed == plan.seeds[0]:
            curves += [where | curve for curve in loss_curves(run.folder(plan) / "loss_log.txt")]
    out.mkdir(parents=True, exist_ok=True)
    text = plan_file.read_text(encoding="utf-8")
    if not re.search(r"^name\s*=", text, re.MULTILINE):
        text = f'name = "{plan.name}"\n{text}'
    write_text(out / PLAN, text)
    for name, content in ((LINES, lines), (RUNS, runs), (CURVES, curves)):
        write_text(out / name, "".join(json.dumps(line) + "\n" for line in content))
    gather_pictures(study, out / PICTURES)
    return left


def facts_of(study: Study, run: Run) -> dict[str, Any]:
    """Return what a run took: steps and seconds of the student, and of its teacher."""
    plan, state = study.plan, study.progress(run.experiment)
    place, pace = state.get("place", {}), state.get("pace", {})
    saved = json.loads((run.folder(plan) / "train_opt.json").read_text())
    own, before = study.seconds(run)
    steps = place.get("steps")
    student, teacher = steps, study.place(run.teacher).get("steps") if run.teacher else 0
    if run.trains_teacher and steps is not None:
        ratio = saved["student_ratio"]
        # a joint step trains both; interleaved, the student has `ratio` of 1 + ratio passes
        student = steps * ratio // (1 + ratio) if saved["schedule"] == "interleaved" else steps
        teacher = steps - student if saved["schedule"] == "interleaved" else steps
    return {
        "experiment": run.experiment, "model": run.model, "student_steps": student, "teacher_steps": teacher,
        "seconds": round(own, 3), "teacher_seconds": round(before, 3) if run.teacher and before else None,
        "batch_size": saved["batch_size"], "epochs": saved["n_epochs"] + saved["n_epochs_decay"],
    } | {name: value for name, value in measured(pace).items() if value is not None}  # fmt: skip


def measured(pace: Mapping[str, Any]) -> dict[str, float | None]:
    """Return steps per second and peak memory in bytes, as far as a run has left them."""
    median, memory = pace.get("median"), pace.get("memory", {})
    rate = round(1 / median, 4) if median else None
    return {"steps_per_second": rate, "memory_process": memory.get("process"), "memory_gpu": memory.get("gpu")}


def loss_curves(log: Path) -> list[dict[str, Any]]:
    """Read each loss's course from a run's log, thinned to a page's resolution by the mean of neighbours."""
    if not log.is_file():
        return []
    found = [match.groups() for match in map(LOSS_LINE.match, log.read_text().splitlines()) if match]
    longest = max((int(images) for _, images, _ in found), default=1)
    curves: dict[str, list[tuple[float, float]]] = {}
    for epoch, images, losses in found:
        x = int(epoch) - 1 + int(images) / longest
        for name, value in re.findall(r"(\w+): (\S+)", losses):
            curves.setdefault(name, []).append((x, float(value)))
    return [{"loss": name, "points": _thinned(points)} for name, points in curves.items()]


def _thinned(points: list[tuple[float, float]]) -> list[list[float]]:
    size = -(-len(points) // POINTS)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [[float(f"{sum(column) / len(group):.4g}") for column in zip(*group, strict=True)] for group in groups]


def score_masked(study: Study, run: Run) -> None:
    """Add a toy run's errors to the truth to its lines, once; the pictures are those of test.py."""
    plan, path = study.plan, run.folder(study.plan) / "metrics.jsonl"
    calls = picture_words(plan, run)
    if plan.base == "pix2pix" or any(line["metric"] == "error_inside" for line in read_lines(path)):
        return
    truths, masks = source_folder(plan, target=True), Path(plan.data) / "masks" / source_folder(plan).name
    pictures = pictures_of(plan, calls[0])
    names = [image.stem for image in tested_images(plan)]
    triples = [(pictures / f"{n}_fake.png", truths / f"{n}.png", masks / f"{n}.png") for n in names]
    if not triples or not all(file.is_file() for triple in triples for file in triple):
        return
    began = time.monotonic()
    errors = masked_error(triples)
    with Image.open(triples[0][0]) as first:
        resolution = list(first.size)
    facts = facts_of(study, run)
    network = "G" if run.trains_teacher else "G_A"
    no_dropout = json.loads((run.folder(plan) / "train_opt.json").read_text())["no_dropout"]
    shared = {
        "count_fakes": len(triples), "count_reals": len(triples), "split": "test", "experiment": run.experiment,
        "model": run.model, "direction": plan.direction, "network": network, "variant": "last",
        "epoch": "latest", "resolution": resolution, "student_steps": facts["student_steps"], "seed": run.seed,
        "teacher_steps": facts["teacher_steps"], "train_seconds": facts["seconds"],
        "network_mode": f"train, as upstream tests (dropout {'off' if no_dropout else 'on'})",
        "weights": sha256(run.folder(plan) / f"latest_net_{network}.pth"), "seconds": round(time.monotonic() - began, 2),
        "protocol": "mean absolute difference to the truth, of a range of 2, over the objects' pixels of all test images",
    }  # fmt: skip
    outside = shared["protocol"].replace("the objects' pixels", "all other pixels")
    append_lines(
        path,
        [
            metric_line("error_inside", errors.inside, **shared),
            metric_line("error_outside", errors.outside, **(shared | {"protocol": outside})),
        ],
    )


# ---- pictures --------------------------------------------------------------------------------------------------------


def gather_pictures(study: Study, folder: Path) -> None:
    """Copy the first test images, and what each row's first seed makes of them, into `folder`/<row>/<stem>.

    What an earlier call copied and this one does not is removed; pictures that someone else put there are not.
    """
    plan = study.plan
    images = tested_images(plan)[: plan.pictures]
    sources = {"input": {image.stem: image for image in images}}
    for run in study.runs:
        if run.seed != plan.seeds[0] or not study.trained(run):
            continue
        for number, words in enumerate(picture_words(plan, run)):
            of = f"{TEACHER}_of_{slug(run.row)}" if number else slug(run.row)
            key = of if run.row == TEACHER else f"{of}_ngf{run.width}"
            sources[key] = found_pictures(pictures_of(plan, words), [image.stem for image in images])
    if MASKED in plan.metrics:  # a toy set: the truth has the name of its input
        sources["truth"] = {image.stem: source_folder(plan, target=True) / image.name for image in images}
    if plan.base == "pix2pix":  # the test images are pairs: input and truth are what test.py made of them
        pages = [pictures_of(plan, words) for run in study.runs for words in picture_words(plan, run)[:1]]
        page = next((page for page in pages if page.is_dir()), None)
        stems = [image.stem for image in images]
        for label, side in (("input", "real_A"), ("truth", "real_B")):
            sources[label] = {stem: page / f"{stem}_{side}.png" for stem in stems} if page else {}
    copied = [
        copy_picture(file, folder / row, stem)
        for row, files in sources.items()
        for stem, file in files.items()
        if file.is_file()
    ]
    own = folder / COPIED
    before = own.read_text(encoding="utf-8").splitlines() if own.is_file() else []
    for old in [folder / name for name in before]:
        if old not in copied and old.resolve().parent.parent == folder.resolve():
            old.unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(own, "".join(f"{path.relative_to(folder).as_posix()}\n" for path in copied))


def found_pictures(folder: Path, stems: Iterable[str]) -> dict[str, Path]:
    """Return the translations of some images in a folder of test.py."""
    files = {stem: [folder / f"{stem}_{label}.png" for label in ("fake", "fake_B")] for stem in stems}
    return {stem: file for stem, both in files.items() for file in both if file.is_file()}


def copy_picture(file: Path, folder: Path, stem: str) -> Path:
    """Keep a small picture exactly, a large one as a JPEG of at most the page's size; return where."""
    folder.mkdir(parents=True, exist_ok=True)
    with Image.open(file) as picture:
        picture = picture.convert("RGB")
        picture.thumbnail((ENLARGED, ENLARGED))
        small = max(picture.size) <= EXACT
        kept = folder / f"{slug(stem)}.{'png' if small else 'jpg'}"
        with replacing(kept) as temporary:
            picture.save(temporary, "PNG" if small else "JPEG", **({"optimize": True} if small else {"quality": 88}))
    return kept


def pictures_in(plan: Plan, folder: Path) -> dict[str, list[Path]]:
    """Return the gathered pictures: by row, in the plan's order, the same images in each."""
    keys = ["input", TEACHER, *(f"{slug(name)}_ngf{width}" for width in plan.widths for name in _rows(plan)), "truth"]
    teachers = [f"{TEACHER}_of_{slug(m.name)}_ngf{w}" for w in plan.widths[:1] for m in plan.methods]
    there = [key for key in teachers if (folder / key).is_dir()]
    if plan.to_teacher:  # what each student is compared with
        keys[2:2] = there
    elif not (folder / TEACHER).is_dir():  # one row for teachers is enough
        keys[1:2] = there[:1]
    return {key: sorted((folder / key).glob("*.*g")) for key in keys if (folder / key).is_dir()}


def _rows(plan: Plan) -> list[str]:
    return [ALONE, *([SAME_SECONDS] if plan.same_seconds else []), *(method.name for method in plan.methods)]
