"""Settings check themselves, name what is wrong, and survive the way through YAML."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from wsperception.errors import InputError
from wsperception.settings import check, from_mapping, read_yaml, setting, to_mapping


@dataclass(frozen=True)
class Wheel:
    radius: float = setting(0.3, "Radius", unit="m", low=0.1, high=2.0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Car:
    name: str
    seats: int = setting(5, "Seats", low=1, high=9)
    drive: str = setting("front", "Driven axle", choices=("front", "rear"))
    electric: bool = setting(False, "Has a battery")
    wheel: Wheel = field(default_factory=Wheel)
    gears: tuple[float, ...] = (1.0,)
    size: tuple[int, int] = (2, 4)
    towed_mass: float | None = None
    manual: Path | None = None
    plates: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"seats": 10}, "seats: expected 1 to 9, got 10"),
        ({"seats": 2.5}, "seats: expected int, got 2.5"),
        ({"seats": True}, "seats: expected int, got True"),
        ({"seats": "4"}, "seats: expected int, got '4'"),
        ({"drive": "all"}, "drive: expected one of front, rear, got 'all'"),
        ({"electric": 1}, "electric: expected bool, got 1"),
        ({"gears": (1.0, "two")}, "gears: expected float, got 'two'"),
        ({"gears": 3.0}, "gears: expected a list of values, got 3.0"),
        ({"size": (2, 4, 6)}, r"size: expected 2 values, got \(2, 4, 6\)"),
        ({"towed_mass": "heavy"}, "towed_mass: expected float or NoneType, got 'heavy'"),
        ({"wheel": 3}, "wheel: expected Wheel, got 3"),
    ],
)
def test_wrong_values_are_named(values, text):
    with pytest.raises(InputError, match=text):
        Car(name="a", **values)


@pytest.mark.parametrize("radius", [0.0999, 2.001, math.nan, math.inf])
def test_range_is_inclusive_and_holds_nan_off(radius):
    assert Wheel(0.1).radius == 0.1
    assert Wheel(2).radius == 2
    with pytest.raises(InputError, match=r"radius: expected 0.1 to 2, got"):
        Wheel(radius)


def test_from_mapping_reads_nested_values_lists_and_paths():
    values = {"name": "b", "wheel": {"radius": 1}, "gears": [4, 2.5], "manual": "a/b.pdf", "plates": ["x"]}
    car = from_mapping(Car, values, "car.yaml")
    assert car == Car("b", wheel=Wheel(1.0), gears=(4, 2.5), manual=Path("a/b.pdf"), plates=("x",))
    assert isinstance(car.wheel.radius, float)


def test_from_mapping_inverts_to_mapping_through_yaml():
    car = Car("c", seats=2, wheel=Wheel(0.7), size=(3, 5), manual=Path("m"), towed_mass=7.5, plates=("x", "y"))
    assert from_mapping(Car, yaml.safe_load(yaml.safe_dump(to_mapping(car))), "here") == car
    assert from_mapping(Car, to_mapping(Car("d")), "here") == Car("d")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"name": "b", "colour": 1}, "^car.yaml: unknown key 'colour'; known are drive, "),
        ({}, "^car.yaml: missing key 'name'$"),
        ({"name": "b", "seats": 0}, "^car.yaml: seats: expected 1 to 9, got 0$"),
        ({"name": "b", "wheel": {"radius": 9}}, "^car.yaml: wheel: radius: expected 0.1 to 2, got 9.0$"),
        ({"name": "b", "wheel": {"spokes": 9}}, "^car.yaml: wheel: unknown key 'spokes'; known are radius$"),
        ({"name": "b", "wheel": 3}, "^car.yaml: wheel: expected keys and values, got int$"),
        ([1], "^car.yaml: expected keys and values, got list$"),
    ],
)
def test_from_mapping_names_file_and_key(values, text):
    with pytest.raises(InputError, match=text):
        from_mapping(Car, values, "car.yaml")


def test_read_yaml(tmp_path):
    path = tmp_path / "wheel.yaml"
    path.write_text("radius: 0.5\n")
    assert read_yaml(Wheel, path) == Wheel(0.5)
    path.write_text("")
    assert read_yaml(Wheel, path) == Wheel()
    path.write_text("radius: [\n")
    with pytest.raises(InputError, match=r"wheel.yaml: not a YAML file: [^\n]*$"):
        read_yaml(Wheel, path)
    path.write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(InputError, match=r"wheel.yaml: not a YAML file"):
        read_yaml(Wheel, path)
    with pytest.raises(InputError, match=r"none.yaml: no such file; expected a YAML file of settings"):
        read_yaml(Wheel, tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        read_yaml(Wheel, tmp_path)
