import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from training.distributed import Processes, choose_device
from training.loop import load, prefetched, resolve_precision
from training.recipe import Recipe, TrainingSettings, differing_keys, read_recipe
from training.run_log import CollapseAlarm, RunLog, read_log
from wsperception.data.clip_sampler import ClipSampler
from wsperception.data.clips import ClipSettings
from wsperception.data.frame_store import FrameStore
from wsperception.data.labelled_frames import read_labelled_frames
from wsperception.errors import InputError
from wsperception.learn.methods import METHODS
from wsperception.types import LabelSpace

CPU = torch.device("cpu")


@dataclass(frozen=True)
class NoSettings:
    """A method without settings."""


def recipe(batch: int, accumulate: int, frames: int = 2) -> Recipe:
    training = TrainingSettings(batch=batch, accumulate=accumulate)
    return Recipe("wsmots", training, ClipSettings(input_size=(32, 80), frames=frames), NoSettings())


@pytest.fixture
def sampler(kitti_root: Path) -> ClipSampler:
    frames = read_labelled_frames((kitti_root,), "all", LabelSpace(("car", "pedestrian"), (True, True)), "full")
    settings = recipe(2, 1).data
    return ClipSampler(frames, FrameStore(frames, settings.stored_size, True, None), settings, 0)


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (1, 3), (2, 1), (2, 3), (3, 2), (6, 1)])
def test_every_division_gives_the_same_joint_batch(sampler: ClipSampler, count: int, parts: int) -> None:
    # 12 frames are 6 clips; step 4 takes clips 24 to 29, frames 48 to 59.
    numbers, clips, sources = [], [], []
    for rank in range(count):
        batches = load(sampler, recipe(12, parts), Processes(rank, count, CPU), 4)
        assert len(batches) == parts
        for batch in batches:
            assert len(batch.frames) == len(batch.numbers) == 12 // (count * parts)
            numbers += batch.numbers
            clips += [frame.clip for frame in batch.frames]
            sources += [(number, frame.source) for number, frame in zip(batch.numbers, batch.frames, strict=True)]
    assert sorted(numbers) == list(range(48, 60))
    assert sorted(clips) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    whole = load(sampler, recipe(12, 1), Processes(0, 1, CPU), 4)[0]
    assert dict(sources) == {n: frame.source for n, frame in zip(whole.numbers, whole.frames, strict=True)}


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_prefetched_keeps_the_order(workers: int) -> None:
    def prepare(number: int) -> int:
        time.sleep(0.002 * (number % 3))  # later ones finish earlier
        return number * number

    assert list(prefetched(prepare, range(5, 20), workers)) == [number * number for number in range(5, 20)]
    assert list(prefetched(prepare, range(0), workers)) == []


def test_prefetched_is_only_a_little_ahead() -> None:
    asked: list[int] = []
    steps = prefetched(lambda number: asked.append(number), range(100), 2)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert max(asked) <= 3
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("clips")]


def test_prefetched_hands_on_what_went_wrong() -> None:
    def prepare(number: int) -> int:
        if number == 2:
            raise InputError("frame 2: broken")
        return number

    steps = prefetched(prepare, range(9), 2)
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(InputError, match="frame 2: broken"):
        next(steps)


def test_precision() -> None:
    assert resolve_precision("auto", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"
    assert choose_device("cpu") == CPU


def test_differing_keys() -> None:
    ours = {"a": 1, "b": {"c": 2, "d": [1, 2]}, "e": 0}
    theirs = {"a": 1, "b": {"c": 3, "d": [1, 2]}, "f": 0}
    assert differing_keys(ours, theirs) == ["b.c", "e", "f"]


def test_changes_go_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("training: {seed: 3, batch: 8}\nmethod: {net: {backbone: tiny}}\n")
    changes = ["training.seed=5", "method.net.norm=group", "training.weight_decay=1e-3", "data.input_size=[64, 96]"]
    found = read_recipe("wsmots", path, changes)
    assert (found.training.seed, found.training.batch) == (5, 8)
    assert found.training.weight_decay == 0.001
    assert found.data.input_size == (64, 96)
    assert (found.method.net.backbone, found.method.net.norm) == ("tiny", "group")
    assert found.mapping()["method"]["net"]["norm"] == "group"


def test_the_papers_recipe_is_the_default() -> None:
    path = Path(__file__).resolve().parents[2] / "config/wsmots.yaml"
    found = read_recipe("wsmots", path, [])
    assert found.training == TrainingSettings()
    assert (found.training.learning_rate, found.training.batch, found.method.margin) == (0.02, 24, 0.2)
    assert found.data == ClipSettings(split="train")
    assert found.method == METHODS["wsmots"].Settings()
    assert found.training.supervision == "weak"
    # 150 epochs of 5,027 frames in batches of 24: 31,419 steps, rounded up to hundreds.
    assert found.training.iterations == 31500


def test_the_tiny_recipes_differ_in_what_masks_learn_from() -> None:
    config = Path(__file__).resolve().parents[2] / "config"
    full, weak = (read_recipe("wsmots", config / name, []) for name in ("wsmots-tiny.yaml", "wsmots-tiny-weak.yaml"))
    differing = differing_keys(full.mapping(), weak.mapping())
    assert {key for key in differing if not key.startswith("method.weak.")} == {
        "method.net.mask_context", "training.supervision"
    }  # fmt: skip


def test_log_is_cut_at_the_checkpoint(tmp_path: Path) -> None:
    log = RunLog(tmp_path, 0)
    for iteration in range(4):
        log.write(iteration, {"loss.total": float(iteration)})
    log.close()
    path = tmp_path / "log.jsonl"
    path.write_text(path.read_text() + '{"iteration": 4, "loss.to')  # a kill in the middle of a line
    assert [entry["iteration"] for entry in read_log(path)] == [0, 1, 2, 3]
    log = RunLog(tmp_path, 2)
    log.write(2, {"loss.total": 9.0})
    log.close()
    assert [entry["loss.total"] for entry in read_log(path)] == [0.0, 1.0, 9.0]
    assert read_log(tmp_path / "absent.jsonl") == []


def test_masks_that_collapse_raise_an_alarm_once() -> None:
    alarm = CollapseAlarm(steps=2)
    shares = [0.99, 0.97, 0.96, 0.96, 0.02, 0.04, None, 0.05, 0.5, 0.01, 0.02]
    said = [alarm.message(step, share) for step, share in enumerate(shares)]
    # Means over two: .98 is too high; .965, .96, .49 are not; .03 is too low, and stays until .275; .255, then .015.
    assert [step for step, message in enumerate(said) if message] == [1, 5, 10]
    assert said[1] == "step 1: masks cover 98 % of their boxes, they fill them; see loss.mask_* in log.jsonl"
    assert "masks cover 3 % of their boxes, they vanish" in said[5]


def test_numbers_of_the_command_line():
    # YAML 1.1 takes 1e-4 for text, and 0029, a sequence, is text only in quotes.
    recipe = read_recipe("wsmots", None, ["training.weight_decay=1e-4", "data.split='0029'"])
    assert recipe.training.weight_decay == 1e-4
    assert recipe.data.split == "0029"
