"""Results of different settings are never mixed."""

from pathlib import Path

import pytest

pytest.importorskip("torch")

from training.results_folder import claim_folder
from wsperception.errors import InputError


def test_a_folder_belongs_to_its_settings(tmp_path: Path) -> None:
    folder = tmp_path / "deep/results"
    settings = {"size": (192, 640), "rows": {1: "a"}}
    claim_folder(folder, settings)
    written = (folder / "settings.json").read_text()
    claim_folder(folder, settings)
    assert (folder / "settings.json").read_text() == written
    with pytest.raises(InputError, match=r"results: holds results of other settings, see settings.json"):
        claim_folder(folder, settings | {"size": (640, 192)})
    assert (folder / "settings.json").read_text() == written
    claim_folder(folder, {"size": (640, 192)}, "other.json")


def test_a_broken_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"size": [192')
    with pytest.raises(InputError, match=r"settings.json: not a JSON file; expected the settings of the results"):
        claim_folder(tmp_path, {"size": [192, 640]})
