"""The classifier of tags: its crops, and a training of it that is cut off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from training import tag_classifier
from training.checkpoint import load_tensors
from training.distributed import join
from training.loop import train
from training.recipe import read_recipe
from training.run_log import read_log
from training.tag_classifier import ClassifierRun, CropSampler, TaggedCrop, train_classifier

CHANGES = (
    "data.classes=[car, road]", "method.stuff_classes=1", "training.optimizer=adamw",
    "training.warm_up=0", "training.checkpoint_every=1", "training.reference_batch=2",
    "method.net={backbone: tiny, norm: group, channels: 8, bins: [1]}",
    "method.tags={iterations: 3, batch: 2, learning_rate: 0.01}",
)  # fmt: skip


def draw(path: Path) -> np.ndarray:
    """An image (8, 12, 3) of noise, written to `path`."""
    picture = np.random.default_rng(0).integers(0, 255, (8, 12, 3), np.uint8)
    cv2.imwrite(str(path), picture[..., ::-1])
    return picture


def test_crops_are_drawn_by_number(tmp_path: Path) -> None:
    picture, tags = draw(tmp_path / "a.png"), np.array([True, False])
    crops = [TaggedCrop(tmp_path / "a.png", (left, 2, left + 4, 8), tags) for left in (0, 4, 8)]
    sampler = CropSampler(crops, 5)
    shown = [sampler.clip(number)[0] for number in range(12)]
    plain = {picture[2:8, left : left + 4].tobytes(): left for left in (0, 4, 8)}
    mirrored = {picture[2:8, left : left + 4][:, ::-1].tobytes(): left for left in (0, 4, 8)}
    both = plain | mirrored
    epochs = [sorted(both[frame.image.tobytes()] for frame in shown[start : start + 3]) for start in range(0, 12, 3)]
    assert epochs == [[0, 4, 8]] * 4
    assert 0 < sum(frame.image.tobytes() in mirrored for frame in shown) < 12
    assert (sampler.clip(7)[0].image == shown[7].image).all()
    assert shown[0].weak is not None and shown[0].weak.tags is tags


def test_a_cut_training_goes_on_and_a_whole_one_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw(tmp_path / "a.png")
    crops = [TaggedCrop(tmp_path / "a.png", (x, 0, x + 6, 8), np.array([x == 0, True])) for x in (0, 3, 6)]
    recipe = read_recipe("panoptic", None, list(CHANGES))
    whole, cut = ClassifierRun(tmp_path / "whole"), ClassifierRun(tmp_path / "cut")

    def run(one: ClassifierRun) -> None:
        with join("cpu") as processes:
            train_classifier(one, crops, recipe, processes)

    def two_steps(*given: Any) -> Iterator[dict[str, float]]:
        for step, numbers in enumerate(train(*given)):
            if step == 2:
                raise KeyboardInterrupt
            yield numbers

    run(whole)
    with monkeypatch.context() as patch:
        patch.setattr(tag_classifier, "train", two_steps)
        with pytest.raises(KeyboardInterrupt):
            run(cut)
    assert not (cut.out / "weights.pt").exists()
    run(cut)
    assert [entry["iteration"] for entry in read_log(cut.out / "log.jsonl")] == [0, 1, 2]
    expected, found = load_tensors(whole.out / "weights.pt"), load_tensors(cut.out / "weights.pt")
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    (cut.out / "weights.pt").write_bytes(b"as it was")
    run(cut)
    assert (cut.out / "weights.pt").read_bytes() == b"as it was"
