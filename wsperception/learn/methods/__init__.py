"""The methods, by name. A method is a module with `Settings` and `build(settings, class_count, supervision)`, whose
result gives weighted loss terms and figures of a batch: see any of them."""

from types import ModuleType

from wsperception.learn.methods import wsmots

METHODS: dict[str, ModuleType] = {"wsmots": wsmots}
