import pytest

from wsperception.learn.kept_work import whole_file


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "labels.npz"
    with whole_file(path) as file:
        file.write(b"old")
        assert not path.exists()
    assert path.read_bytes() == b"old"
    with pytest.raises(ZeroDivisionError), whole_file(path) as file:
        file.writelines(b"half" * (1 // rest) for rest in (1, 0))
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["labels.npz"]
