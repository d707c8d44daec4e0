"""Fast DDS's profile: where it is, and how its variable is called. Imports neither rclpy nor launch."""

import os
import sys
from pathlib import Path

# Fast DDS 3, from ROS 2 Kilted on, reads FASTDDS_DEFAULT_PROFILES_FILE and nothing else; Fast DDS 2 the old name.
_WITH_FAST_DDS_2 = ("humble", "iron", "jazzy")


def profile_variable() -> str:
    """The environment variable that names the profile's file, for the ROS 2 that is sourced."""
    older = os.environ.get("ROS_DISTRO") in _WITH_FAST_DDS_2
    return "FASTRTPS_DEFAULT_PROFILES_FILE" if older else "FASTDDS_DEFAULT_PROFILES_FILE"


def profile() -> Path | None:
    """config/fastdds.xml of the repository or of the installation."""
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    candidates = [
        Path(__file__).resolve().parents[2] / "config/fastdds.xml",
        *(Path(prefix) / "share/wsperception/config/fastdds.xml" for prefix in prefixes),
    ]
    return next((path for path in candidates if path.is_file()), None)


def profile_to_set() -> dict[str, str]:
    """The variable and our profile; empty where the user has a profile, or ours is not found."""
    variable, path = profile_variable(), profile()
    return {} if path is None or os.environ.get(variable) else {variable: str(path)}
