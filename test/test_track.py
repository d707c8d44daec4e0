"""`run_track` with a network that sees the same two objects in every image."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from wsperception import rle
from wsperception.bundle import Thresholds, write_bundle
from wsperception.data.coco_panoptic import open_coco_panoptic
from wsperception.data.sources import open_source
from wsperception.errors import InputError
from wsperception.track import TrackRequest, read_pipeline_settings, run_track
from wsperception.types import VOID, LabelSpace

av = pytest.importorskip("av", reason="the package 'av' is not installed")

SIZE = (192, 640)
"""Twice the constant network's input, so that its boxes double."""


@pytest.fixture
def street(tmp_path) -> Path:
    """Six frames of noise."""
    rng = np.random.default_rng(2)
    folder = tmp_path / "street"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (*SIZE, 3), dtype=np.uint8))
    return folder


@pytest.fixture
def request_(street, constant_bundle, tmp_path) -> TrackRequest:
    return TrackRequest(street, str(constant_bundle.folder), tmp_path / "results" / "street")


def test_the_text_holds_every_object_of_every_frame(request_):
    summary = run_track(request_)
    lines = [line.split() for line in summary.text.read_text().splitlines()]
    # frame, track id, class, height, width
    expected = [[str(frame), str(track), str(track), "192", "640"] for frame in range(6) for track in (1, 2)]
    assert [line[:5] for line in lines] == expected
    car = rle.decode(lines[0][5].encode(), SIZE)
    # the network says 20 30 120 80 in its input, which is half as large
    assert car.sum() == 200 * 100
    assert car[60:160, 40:240].all()


def test_the_folder_holds_three_files_and_the_video_every_frame(request_):
    summary = run_track(request_)
    assert sorted(file.name for file in request_.out.iterdir()) == ["overlay.mp4", "street.txt", "timings.json"]
    assert (summary.sequence, summary.frames, summary.skipped) == ("street", 6, ())
    frames = list(open_source(summary.video))
    assert len(frames) == 6
    assert frames[0].image.shape == (*SIZE, 3)
    # the car's tint on noise of mean 127.5: 0.55 * 127.5 + 0.45 * (0, 242, 12.75) for its colour's hue 0.618
    tinted = frames[3].image[70:150, 60:220].mean(axis=(0, 1))
    outside = frames[3].image[170:190, 300:600].mean(axis=(0, 1))
    assert np.abs(tinted - outside).max() > 20


def test_timings(request_):
    summary = run_track(request_)
    report = json.loads(summary.timings.read_text())
    assert report["frames"] == 6
    assert report["skipped"] == 0
    assert report["image_size"] == [192, 640]
    assert report["input_size"] == [96, 320]
    assert (report["model"], report["backend"], report["sequence"]) == ("constant-model", "onnx", "street")
    for stage in ("read", "letterbox", "network", "decode", "fuse", "track", "write", "total"):
        times = report["stages_ms"][stage]
        assert 0 < times["p50"] <= times["p95"] <= times["p99"]


def test_two_runs_give_the_same_text(request_):
    first = run_track(request_).text.read_bytes()
    second = run_track(replace(request_, out=request_.out.with_name("again"))).text.read_bytes()
    assert first == second
    assert first


def test_a_corrupt_frame_is_skipped_counted_and_reported(request_, street):
    (street / "2.png").write_bytes((street / "2.png").read_bytes()[:5000])
    summary = run_track(request_)
    assert summary.frames == 5
    assert [skip.index for skip in summary.skipped] == [2]
    numbers = [line.split()[0] for line in summary.text.read_text().splitlines()]
    assert sorted(set(numbers)) == ["0", "1", "3", "4", "5"]
    tracks = {line.split()[1] for line in summary.text.read_text().splitlines()}
    assert tracks == {"1", "2"}  # the tracks live on over the gap
    report = json.loads(summary.timings.read_text())
    assert report["skipped"] == 1
    assert report["skipped_frames"][0]["index"] == 2
    assert "truncated PNG" in report["skipped_frames"][0]["reason"]


def test_without_video(request_):
    summary = run_track(replace(request_, video=False))
    assert summary.video is None
    assert sorted(file.name for file in request_.out.iterdir()) == ["street.txt", "timings.json"]


def test_progress_is_told(request_):
    told = []
    run_track(replace(request_, video=False), lambda done, length: told.append((done, length)))
    assert told == [(number, 6) for number in range(1, 7)]


def nothing_left(request: TrackRequest) -> bool:
    folder = request.out.parent
    return not folder.exists() or list(folder.iterdir()) == []


def test_a_mistake_in_the_middle_leaves_nothing(request_, street):
    cv2.imwrite(str(street / "4.png"), np.zeros((100, 640, 3), np.uint8))
    with pytest.raises(InputError, match=r"4\.png: expected 640 x 192 pixels as in .*0\.png, got 640 x 100"):
        run_track(request_)
    assert nothing_left(request_)


def test_no_readable_frame_leaves_nothing(request_, street):
    for file in street.iterdir():
        file.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="none of 6 frames could be read"):
        run_track(request_)
    assert nothing_left(request_)


def test_an_interruption_leaves_nothing(request_):
    def interrupt(done: int, length: int | None) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_track(request_, interrupt)
    assert nothing_left(request_)


def test_an_existing_folder(request_):
    request_.out.mkdir(parents=True)
    run_track(replace(request_, video=False))  # empty: fine
    (request_.out / "mine.txt").write_text("keep me")
    with pytest.raises(InputError, match=r"street: the folder exists and is not empty; .* --overwrite"):
        run_track(request_)
    (request_.out / "street.txt").write_text("old")
    run_track(replace(request_, replace=True))
    assert (request_.out / "street.txt").read_text() != "old"
    assert (request_.out / "mine.txt").read_text() == "keep me"
    assert (request_.out / "overlay.mp4").exists()
    run_track(replace(request_, replace=True, video=False))
    assert not (request_.out / "overlay.mp4").exists()  # it would show another run
    assert [entry.name for entry in request_.out.parent.iterdir()] == ["street"]


def test_out_must_not_be_a_file(request_, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "street").write_text("")
    with pytest.raises(InputError, match="expected a folder for the results, found a file"):
        run_track(request_)


def test_settings_go_over_the_models_own(request_, tmp_path, constant_bundle):
    file = tmp_path / "settings.yaml"
    file.write_text("tracker:\n  min_score: 0.97\n")  # the pedestrian has 0.95
    summary = run_track(replace(request_, settings=file, video=False))
    assert {line.split()[2] for line in summary.text.read_text().splitlines()} == {"1"}
    settings = read_pipeline_settings(file, constant_bundle)
    assert settings.tracker.min_score == 0.97
    assert settings.fusion == read_pipeline_settings(None, constant_bundle).fusion


def test_settings_that_the_file_leaves_out_stay_the_models(tmp_path, constant_bundle):
    bundle = replace(constant_bundle, thresholds=Thresholds(score=0.4, mask=0.6, similarity=0.2))
    file = tmp_path / "settings.yaml"
    file.write_text("tracker: {min_score: 0.7}\n")
    settings = read_pipeline_settings(file, bundle)
    assert (settings.tracker.min_score, settings.tracker.min_similarity) == (0.7, 0.2)
    assert settings.fusion.mask_threshold == 0.6


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("tracker:\n  min_skore: 0.5\n", "unknown key 'min_skore'"),
        ("tracker:\n  min_score: 1.5\n", "min_score: expected 0 to 1, got 1.5"),
        ("tracker: 3\n", "tracker: expected keys and values"),
        ("- 1\n", "expected keys and values, got list"),
        ("a: [", "not a YAML file"),
    ],
)
def test_wrong_settings_name_file_and_key(tmp_path, constant_bundle, text, reason):
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    with pytest.raises(InputError) as caught:
        read_pipeline_settings(file, constant_bundle)
    assert str(caught.value).startswith(str(file))
    assert reason in str(caught.value)


def test_missing_settings(tmp_path, constant_bundle):
    with pytest.raises(InputError, match=r"none\.yaml: no such file"):
        read_pipeline_settings(tmp_path / "none.yaml", constant_bundle)


def test_empty_settings_are_the_models_own(tmp_path, constant_bundle):
    (tmp_path / "empty.yaml").write_text("")
    assert read_pipeline_settings(tmp_path / "empty.yaml", constant_bundle) == read_pipeline_settings(
        None, constant_bundle
    )


def test_a_video_gives_what_its_frames_give(request_, street, tmp_path):
    from wsperception.video import VideoWriter

    with VideoWriter(tmp_path / "street.mp4", SIZE, 10) as writer:
        for frame in open_source(street):
            writer.write(frame.image)
    from_video = run_track(replace(request_, source=tmp_path / "street.mp4"))
    from_images = run_track(replace(request_, out=tmp_path / "images"))
    assert from_video.text.read_bytes() == from_images.text.read_bytes()  # this network sees no pixels


def test_the_result_folder_appears_whole(request_):
    seen = []

    def look(done: int, length: int | None) -> None:
        seen.append(request_.out.exists())

    run_track(request_, look)
    assert not any(seen)
    shutil.rmtree(request_.out)


@pytest.fixture
def panoptic_request(street, constant_bundle, tmp_path) -> TrackRequest:
    """The constant network with a semantic branch: sky on the upper half of the input, road on the lower."""
    onnx = pytest.importorskip("onnx", reason="the package 'onnx' is not installed")
    model = onnx.load(str(constant_bundle.onnx_path))
    semantic = np.zeros((1, 3, 24, 80), np.uint8)
    semantic[0, 2, :12], semantic[0, 1, 12:] = 255, 204
    model.graph.initializer.append(onnx.numpy_helper.from_array(semantic, "constant_semantic"))
    model.graph.node.append(onnx.helper.make_node("Identity", ["constant_semantic"], ["semantic"]))
    model.graph.output.append(onnx.helper.make_tensor_value_info("semantic", onnx.TensorProto.UINT8, semantic.shape))
    onnx.save(model, tmp_path / "panoptic.onnx")
    labels = LabelSpace(("car", "pedestrian", "road", "sky"), (True, True, False, False))
    bundle = replace(constant_bundle, label_space=labels, outputs=(*constant_bundle.outputs, "semantic"))
    written = write_bundle(tmp_path / "panoptic-model", tmp_path / "panoptic.onnx", bundle)
    return TrackRequest(street, str(written.folder), tmp_path / "results" / "street", video=False)


def test_a_panoptic_model_writes_every_segment(panoptic_request, constant_bundle):
    summary = run_track(panoptic_request)
    assert summary.panoptic == panoptic_request.out / "panoptic" / "street.json"
    assert sorted(file.name for file in panoptic_request.out.iterdir()) == ["panoptic", "street.txt", "timings.json"]
    found = open_coco_panoptic(summary.panoptic)
    assert len(found) == 6
    numbers = set()
    for labels in found:
        assert labels.class_ids.tolist() == [VOID, 0, 1, 2, 3]
        areas = np.bincount(labels.ids.ravel()).tolist()
        # The image is twice the input: car 200 x 100 (40 x 60 to 240 x 160), pedestrian 60 x 140 (40 to 180).
        assert areas[:3] == [0, 200 * 100, 60 * 140]
        # The horizon is at line 96: above it are lines 60 to 96 of the car, 40 to 96 of the pedestrian.
        assert areas[4] == 96 * 640 - 200 * 36 - 60 * 56
        assert labels.scores == pytest.approx([0, 0.98, 0.95, 0.8, 1.0], abs=1e-4)
    for annotation in json.loads(summary.panoptic.read_text())["annotations"]:
        numbers.add(tuple(entry["id"] for entry in annotation["segments_info"]))
    assert len(numbers) == 1  # constant over time
    # The text is of things only, and byte for byte what the model gives without its semantic branch.
    plain = replace(panoptic_request, model=str(constant_bundle.folder), out=panoptic_request.out.with_name("plain"))
    assert run_track(plain).text.read_bytes() == summary.text.read_bytes()
    assert run_track(replace(plain, replace=True)).panoptic is None


def test_a_second_run_replaces_the_panoptic_files_of_its_sequence_only(panoptic_request):
    run_track(panoptic_request)
    folder = panoptic_request.out / "panoptic"
    (folder / "street" / "000099.png").write_bytes(b"of a longer run")
    (folder / "other.json").write_text("of another sequence")
    run_track(replace(panoptic_request, replace=True))
    assert sorted(file.name for file in folder.iterdir()) == ["other.json", "street", "street.json"]
    assert len(list((folder / "street").iterdir())) == 6
