"""Trains the mask and the tracking branch of a detector that stays as it is.

What the detector makes of the training windows is computed once and serves every row and every round over them: a step
costs a tenth of one that trains everything.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from torch import Tensor
from tqdm import tqdm

from training.checkpoint import load_tensors, save_tensors
from training.distributed import join
from training.loop import MicroBatch, Training, load, resolve_precision, step
from training.optimisation import WeightAverage, make_optimizer
from training.recipe import Recipe, record, write_json
from wsperception.data.clip_sampler import ClipSampler
from wsperception.data.clips import ClipFrame
from wsperception.data.frame_store import FrameStore
from wsperception.data.labelled_frames import LabelledFrame, read_labelled_frames
from wsperception.learn.methods.wsmots import SampledRois, Settings, Wsmots
from wsperception.learn.pseudo.cache import with_pseudo_masks
from wsperception.nets.perception_net import PerceptionNet


class MasksOnly(Wsmots):
    """The method on a detector that does not learn: L_T and the mask terms, and nothing of proposals, classes or boxes.

    seen  what the detector made of a batch, by its first frame; filled here, and to be shared between rows that start
          from the same detector and train on the same batches
    """

    def __init__(
        self,
        settings: Settings,
        class_count: int,
        supervision: str,
        seen: dict[ClipFrame, tuple[list[Tensor], list[SampledRois]]],
    ) -> None:
        super().__init__(settings, class_count, supervision)
        self._seen = seen
        for part in (self.net.backbone, self.net.rpn, self.net.box):
            part.requires_grad_(False)

    def forward(
        self, frames: list[ClipFrame], generators: list[torch.Generator], progress: float
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """As `Wsmots.forward`, without the terms of the detector."""
        truths = [self._truth(frame, self.net.mean.device) for frame in frames]
        images = torch.stack([torch.from_numpy(frame.image) for frame in frames]).to(self.net.mean.device)
        if frames[0] not in self._seen:
            with torch.no_grad():
                pyramid = self.net.pyramid(images)
                raw = self.net.propose(pyramid)
            size = (images.shape[1], images.shape[2])
            rois = [self._sample(raw, row, truth, size, generators[row]) for row, truth in enumerate(truths)]
            self._seen[frames[0]] = pyramid, rois
        pyramid, rois = self._seen[frames[0]]
        found, features = self._mask_rois(pyramid, rois, truths)
        terms, figures = self._mask_losses(pyramid, images, found, truths, progress)
        track = self.settings.track_weight * self._track_loss(features, found)
        return {name: self.settings.balance * value for name, value in terms.items()} | {"track": track}, figures


class Windows:
    """A fixed number of training batches of one kind of labels, and what one detector makes of them.

    Where `recipe` asks for pseudo masks they are made, and kept in `cache`; under weak supervision no file of masks is
    opened.
    """

    def __init__(self, drive: Path, recipe: Recipe, count: int, cache: Path, jobs: int) -> None:
        frames = read_labelled_frames((drive,), "all", recipe.labels, recipe.training.supervision)
        masked = recipe.training.supervision == "full"
        if not masked and recipe.method.pseudo_masks is not None:
            frames, masked = with_pseudo_masks(frames, recipe.method.pseudo_masks, cache / "pseudo", jobs), True
        cv2.setNumThreads(1)
        store = FrameStore(frames, recipe.data.stored_size, masked, cache, max(jobs, 2))
        sampler = ClipSampler(frames, store, recipe.data, recipe.training.seed)
        self.drive = drive
        self.frames: Sequence[LabelledFrame] = frames
        with join("cpu") as processes:
            self.batches: list[MicroBatch] = [load(sampler, recipe, processes, row)[0] for row in range(count)]
        self.seen: dict[ClipFrame, tuple[list[Tensor], list[SampledRois]]] = {}


def train_masks(recipe: Recipe, windows: Windows, detector: Path, out: Path, device: str) -> None:
    """Trains on the windows, round after round, and writes recipe.json, log.jsonl and at last weights.pt into `out`.

    detector  weights.pt of the run to start from
    """
    out.mkdir(parents=True, exist_ok=True)
    with join(device) as processes, (out / "log.jsonl").open("w") as log:
        torch.manual_seed(recipe.training.seed)
        model = MasksOnly(recipe.method, len(recipe.labels), recipe.training.supervision, windows.seen)
        model.net.load_state_dict(load_tensors(detector))
        model.to(processes.device)
        average = WeightAverage(model.net, recipe.training.average) if recipe.training.average else None
        if average and recipe.needs_teacher:
            teacher = average.network(model.net)
            assert isinstance(teacher, PerceptionNet)
            model.learn_from(teacher)
        scaled = resolve_precision(recipe.training.precision, processes.device) == "fp16"
        scaler = torch.amp.GradScaler(processes.device.type, enabled=scaled)
        training = Training(model, make_optimizer(model, recipe.training), scaler, average)
        for iteration in tqdm(range(recipe.training.iterations), out.name, mininterval=30.0):
            batch = windows.batches[iteration % len(windows.batches)]
            numbers = step(training, model, [batch], recipe, processes, iteration)
            log.write(json.dumps({"iteration": iteration} | numbers) + "\n")
    write_json(out / "recipe.json", record(recipe, ["benchmarks/wsmots/run.py"], (windows.drive,), windows.frames))
    save_tensors(out / "weights.pt", (average or training.net).state_dict())
