from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("torch")

from wsperception.data.frame_store import FrameStore
from wsperception.data.labelled_frames import LabelledFrame
from wsperception.data.segments import Segments
from wsperception.learn.proposals.segment_store import SegmentStore, image_segments
from wsperception.learn.proposals.segments import ProposalSettings, segment_proposals

SETTINGS = ProposalSettings(superpixels=12, paired=5)


@pytest.fixture
def frames(tmp_path: Path) -> FrameStore:
    """Two images of 24 x 40: coloured tiles with noise."""
    random = np.random.default_rng(0)
    labelled = []
    for number in range(2):
        tiles = random.integers(0, 255, (3, 5, 3)).repeat(8, axis=0).repeat(8, axis=1)
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), (0.8 * tiles + random.integers(0, 50, tiles.shape)).astype(np.uint8))
        none, nobody = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
        labelled.append(LabelledFrame(path, 0, number, none, nobody, nobody, none, None))
    return FrameStore(labelled, (24, 40), False, None)


def same(a: Segments, b: Segments) -> bool:
    pairs = ((a.superpixels, b.superpixels), (a.membership, b.membership), (a.objectness, b.objectness))
    return all(one.dtype == other.dtype and np.array_equal(one, other) for one, other in pairs)


def test_segments_are_the_proposals_that_are_not_too_large(frames: FrameStore):
    found = segment_proposals(frames[0].image, SETTINGS)
    segments = image_segments(frames[0].image, SETTINGS, 0.25)
    kept = np.flatnonzero(found.areas <= 0.25 * 24 * 40)
    assert 0 < len(kept) < len(found)
    assert len(segments) == len(kept)
    for row, proposal in enumerate(kept[:20]):
        np.testing.assert_array_equal(segments.mask(row), found.mask(proposal))
    assert segments.objectness.tolist() == found.objectness[kept].tolist()


def test_what_is_kept_is_what_is_made(frames: FrameStore, tmp_path: Path):
    store = SegmentStore(frames, SETTINGS, 0.25, tmp_path / "kept")
    store.fill(0)
    files = sorted((tmp_path / "kept").rglob("*"))
    assert [path.name for path in files if path.is_file()] == ["000000.npz", "000001.npz"]
    fresh = SegmentStore(frames, SETTINGS, 0.25, None)
    fresh.fill(0)
    for row in (0, 1):
        assert same(store(row), fresh(row))
    assert not same(store(0), store(1))


def test_broken_and_foreign_files_are_made_anew(frames: FrameStore, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "kept"
    store = SegmentStore(frames, SETTINGS, 0.25, folder)
    before = store(0)
    (path,) = tmp_path.rglob("*.npz")
    for content in (b"", b"PK\x03\x04 broken", path.read_bytes()[:-30]):
        path.write_bytes(content)
        assert same(store(0), before)
        assert "broken" in caplog.text
        caplog.clear()
    other = SegmentStore(frames, ProposalSettings(superpixels=6, paired=5), 0.25, folder)
    assert not same(other(0), before)
    assert len(list(folder.iterdir())) == 2
    assert len(SegmentStore(frames, SETTINGS, 0.05, folder)(0)) < len(before)


def test_a_file_of_another_image_is_made_anew(frames: FrameStore, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "kept"
    store = SegmentStore(frames, SETTINGS, 0.25, folder)
    before = store(0)
    (path,) = folder.rglob("*.npz")
    values = dict(np.load(path))
    for change in (
        {"superpixels": values["superpixels"][:-1]},
        {"superpixels": values["superpixels"] + np.uint16(100)},
        {"objectness": values["objectness"][1:]},
    ):
        np.savez_compressed(path, **(values | change))
        assert same(store(0), before)
        assert "broken (expected segments of 24 x 40 pixels" in caplog.text
        caplog.clear()


def test_images_without_proposals_are_counted(frames: FrameStore, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    store = SegmentStore(frames, SETTINGS, 0.0, tmp_path / "kept")  # everything is too large
    store.fill(0)
    assert "proposals: 2 of 2 images have none" in caplog.text
    assert len(store(0)) == 0
