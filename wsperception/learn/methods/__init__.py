"""The methods, by name. A method is a module with `Settings` and `build(settings, labels)`: see any of them."""

from types import ModuleType

from wsperception.learn.methods import wsmots

METHODS: dict[str, ModuleType] = {"wsmots": wsmots}
