"""What a synthetic drive can be asked for."""

from dataclasses import dataclass

from wsperception.settings import check, setting

SCENES = ("any", "parked", "road", "traffic", "crowd", "mixed")


@dataclass(frozen=True)
class DriveSettings:
    """One drive. The same settings give the same bytes."""

    seed: int = setting(0, "every drive of a seed is the same", low=0, high=2**31 - 1)
    frames: int = setting(100, "length of a sequence", unit="frames", low=1, high=100000)
    height: int = setting(375, "image height", unit="pixels", low=48, high=4096)
    width: int = setting(1242, "image width", unit="pixels", low=64, high=8192)
    rate_hz: float = setting(10.0, "frames per second", unit="Hz", low=0.1, high=1000.0)
    scene: str = setting("any", "kind of street; any: drawn by the seed", choices=SCENES)

    def __post_init__(self) -> None:
        check(self)
