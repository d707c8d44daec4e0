"""Trains the classifier of tags whose Grad-CAM shows where stuff is (LAT, section 3.3 and appendix B.2)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from training import checkpoint
from training.distributed import Processes
from training.loop import Training, train
from training.optimisation import make_optimizer
from training.recipe import Recipe
from training.run_log import RunLog
from training.train import imagenet_file
from wsperception.data.clips import ClipFrame
from wsperception.data.sources.image_file import read_image
from wsperception.learn.panoptic.tag_cues import TagLearner
from wsperception.nets.weights import load_imagenet
from wsperception.types import WeakLabels


@dataclass(frozen=True, eq=False)
class TaggedCrop:
    """A part x0 y0 x1 y1 of an image file, and which classes (C,) bool it shows."""

    path: Path
    region: tuple[int, int, int, int]
    tags: np.ndarray


class CropSampler:
    """Crops as an endless, numbered list: each epoch has its own permutation, and every other crop is mirrored."""

    def __init__(self, crops: Sequence[TaggedCrop], seed: int) -> None:
        assert crops
        self._crops, self._seed = crops, seed

    def clip(self, number: int, position: int = 0) -> list[ClipFrame]:
        """One crop."""
        epoch, place = divmod(number, len(self._crops))
        crop = self._crops[np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._crops))[place]]
        x0, y0, x1, y1 = crop.region
        image = read_image(crop.path)[y0:y1, x0:x1]
        if np.random.default_rng([self._seed, 1, number]).random() < 0.5:
            image = image[:, ::-1]
        boxes, nobody = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        tags = WeakLabels(tags=crop.tags)
        return [
            ClipFrame(
                np.ascontiguousarray(image), boxes, nobody, nobody, None, boxes, None, position, str(crop.path), tags
            )
        ]


@dataclass(frozen=True)
class ClassifierRun:
    """Where the classifier is trained, and how.

    out       folder of its checkpoint, log and weights
    imagenet  what it starts from, as --imagenet of training/train.py has it; None: from chance
    workers   threads that prepare crops ahead
    """

    out: Path
    imagenet: str | None = None
    workers: int = 0


def train_classifier(run: ClassifierRun, crops: Sequence[TaggedCrop], recipe: Recipe, processes: Processes) -> None:
    """Trains the classifier of a panoptic recipe until there is weights.pt in its folder, from the checkpoint there."""
    if (run.out / "weights.pt").exists():
        return
    tags = recipe.method.tags
    own = replace(
        recipe.training, iterations=tags.iterations, batch=tags.batch, learning_rate=tags.learning_rate, accumulate=1
    )
    recipe = replace(recipe, training=own, data=replace(recipe.data, frames=1))
    torch.manual_seed(own.seed)
    model = TagLearner(recipe.method.net, len(recipe.labels))
    if run.imagenet is not None:
        load_imagenet(model.net, imagenet_file(run.imagenet))
    model.to(processes.device)
    scaler = torch.amp.GradScaler(processes.device.type, enabled=False)
    training, start, path = Training(model, make_optimizer(model, own), scaler, None), 0, run.out / checkpoint.NAME
    if path.exists():
        values = checkpoint.load(path, recipe.mapping())
        start = int(values["iteration"])
        training.load(values["states"], start)
    run.out.mkdir(parents=True, exist_ok=True)
    log = RunLog(run.out, start)
    try:
        steps = train(training, CropSampler(crops, own.seed), recipe, processes, start, run.workers)
        for done, numbers in enumerate(tqdm(steps, "tags", own.iterations, initial=start), start + 1):
            log.write(done - 1, numbers)
            if done % own.checkpoint_every == 0 or done == own.iterations:
                log.flush()
                checkpoint.save(path, done, recipe.mapping(), training.states())
    finally:
        log.close()
    checkpoint.save_tensors(
        run.out / "weights.pt", {name: value.cpu() for name, value in model.net.state_dict().items()}
    )
