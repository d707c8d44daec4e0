"""Saving: on disk before it is answered, never over what somebody else saved, and one process per folder."""

import os
import resource
import signal
import subprocess
import sys
import threading

import pytest

from wsperception.data.label_file import BoxLabel, read_label_file
from wsperception.errors import InputError
from wsperception.labelling.store import ConflictError, LabelStore, folder_lock

BOX = {"class": "car", "id": 1, "box": [1, 2, 30, 40]}


def sent(revision: int, **values: object) -> dict:
    """What a page sends."""
    return {"tags": None, "boxes": None, "points": None, "ignore": None, "seconds": {}, "revision": revision, **values}


@pytest.fixture
def store(folder) -> LabelStore:
    return LabelStore(folder, read_label_file(folder))


def test_a_save_is_on_the_disk(store, folder):
    saved = store.save(5, sent(0, boxes=[BOX], seconds={"boxes": 1.25}))
    assert saved.boxes == (BoxLabel("car", 1, (1.0, 2.0, 30.0, 40.0)),)
    assert (saved.number, saved.image, saved.stamp_ns, saved.revision) == (5, "images/000005.png", 500, 1)
    assert read_label_file(folder) == store.file
    assert store.frame(5) == saved and store.frame(0).boxes is None
    assert store.frame(7) is None


def test_an_old_revision_is_refused(store):
    store.save(0, sent(0, boxes=[BOX]))
    with pytest.raises(ConflictError, match="frame 0 was changed elsewhere") as caught:
        store.save(0, sent(0, boxes=[]))
    assert caught.value.current.revision == 1
    assert len(store.frame(0).boxes) == 1
    assert store.save(0, sent(1, boxes=[])).revision == 2
    store.save(5, sent(0))  # other frames have their own revision


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (sent(0, number=3), "unknown key 'number'"),
        (sent(0, image="images/x.png"), "unknown key 'image'"),
        ({"revision": 0}, "frame 0: missing key 'tags'"),
        ([], "frame 0: expected keys and values"),
        (sent(0, boxes=[{**BOX, "class": "tram"}]), "frame 0.boxes[0].class: unknown class 'tram'"),
    ],
)
def test_what_is_no_label_changes_nothing(store, folder, values, expected):
    before = (folder / "labels.json").read_bytes()
    with pytest.raises(InputError) as caught:
        store.save(0, values)
    assert expected in str(caught.value)
    assert (folder / "labels.json").read_bytes() == before


def test_a_full_disk_changes_nothing(store, folder):
    before, limits = store.file, resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (64, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            store.save(0, sent(0, boxes=[BOX]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert store.file is before and read_label_file(folder) == before
    assert store.save(0, sent(0, boxes=[BOX])).revision == 1


def test_many_threads_lose_nothing(store, folder):
    def label(number: int) -> None:
        for revision in range(10):
            store.save(number, sent(revision, boxes=[{**BOX, "id": revision}]))

    threads = [threading.Thread(target=label, args=(number,)) for number in (0, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [frame.revision for frame in read_label_file(folder).frames] == [10, 10]


def test_the_lock_holds_others_off_and_dies_with_its_holder(folder):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom wsperception.labelling.store import folder_lock\n"
        "with folder_lock(Path(sys.argv[1])) as lock:\n    lock.write_text('http://somewhere/')\n"
        "    print('held', flush=True)\n    time.sleep(300)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", script, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        text = "labels: is being labelled already, at http://somewhere/"
        with pytest.raises(InputError, match=text), folder_lock(folder):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)  # a crash: nothing is tidied up
        holder.wait()
        holder.stdout.close()
    with folder_lock(folder) as lock:
        assert lock.read_text() == ""
