"""The few calls of NVIDIA's driver that an engine's buffers need, through ctypes.

TensorRT brings no way to allocate or copy. libcuda comes with the driver itself, with a stable binary interface, so
that nothing need be installed, licensed or matched in version: neither CUDA's Python packages nor PyTorch, which a
robot should not carry for a dozen functions. Names with _v2 are what cuda.h maps the plain names to.
"""

import ctypes
from ctypes import byref, c_char_p, c_int, c_size_t, c_uint, c_uint64, c_ulonglong, c_void_p
from typing import Any

import numpy as np

from wsperception.errors import InputError

OUT_OF_MEMORY = 2
NON_BLOCKING_STREAM = 1
CAPTURE_THREAD_LOCAL = 1
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
LIBRARY = "libcuda.so.1"

_POINTER = ctypes.POINTER
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (c_uint,),
    "cuDriverGetVersion": (_POINTER(c_int),),
    "cuDeviceGetCount": (_POINTER(c_int),),
    "cuDeviceGet": (_POINTER(c_int), c_int),
    "cuDeviceGetName": (c_char_p, c_int, c_int),
    "cuDeviceGetAttribute": (_POINTER(c_int), c_int, c_int),
    "cuDevicePrimaryCtxRetain": (_POINTER(c_void_p), c_int),
    "cuDevicePrimaryCtxRelease_v2": (c_int,),
    "cuCtxSetCurrent": (c_void_p,),
    "cuMemGetInfo_v2": (_POINTER(c_size_t), _POINTER(c_size_t)),
    "cuMemAlloc_v2": (_POINTER(c_uint64), c_size_t),
    "cuMemFree_v2": (c_uint64,),
    "cuMemAllocHost_v2": (_POINTER(c_void_p), c_size_t),
    "cuMemFreeHost": (c_void_p,),
    "cuMemcpyHtoDAsync_v2": (c_uint64, c_void_p, c_size_t, c_void_p),
    "cuMemcpyDtoHAsync_v2": (c_void_p, c_uint64, c_size_t, c_void_p),
    "cuStreamCreate": (_POINTER(c_void_p), c_uint),
    "cuStreamDestroy_v2": (c_void_p,),
    "cuStreamSynchronize": (c_void_p,),
    "cuStreamBeginCapture_v2": (c_void_p, c_int),
    "cuStreamEndCapture": (c_void_p, _POINTER(c_void_p)),
    "cuGraphInstantiateWithFlags": (_POINTER(c_void_p), c_void_p, c_ulonglong),
    "cuGraphDestroy": (c_void_p,),
    "cuGraphLaunch": (c_void_p, c_void_p),
    "cuGraphExecDestroy": (c_void_p,),
    "cuGetErrorString": (c_int, _POINTER(c_char_p)),
}


class CudaError(RuntimeError):
    """A driver call failed; `code` is CUresult."""

    def __init__(self, call: str, code: int, text: str) -> None:
        super().__init__(f"{call}: {text} (CUDA error {code})")
        self.code = code


class Device:
    """The first GPU that CUDA shows (CUDA_VISIBLE_DEVICES chooses), with its primary context, which TensorRT shares.

    name                as the driver calls it
    compute_capability  (major, minor)
    cuda_version        (major, minor) of the newest CUDA that the driver serves
    """

    def __init__(self, library: Any) -> None:
        self._library = library
        number, version = c_int(), c_int()
        self._call("cuDriverGetVersion", byref(version))
        self.cuda_version = (version.value // 1000, version.value % 1000 // 10)
        self._call("cuDeviceGet", byref(number), 0)
        self._number = number.value
        name = ctypes.create_string_buffer(256)
        self._call("cuDeviceGetName", name, len(name), self._number)
        self.name = name.value.decode(errors="replace")
        self.compute_capability = (self._attribute(_MAJOR), self._attribute(_MINOR))
        self._context = c_void_p()
        self._call("cuDevicePrimaryCtxRetain", byref(self._context), self._number)
        self.make_current()

    def close(self) -> None:
        """Gives the context back; what was allocated in it must be free already."""
        self._call("cuDevicePrimaryCtxRelease_v2", self._number)

    def make_current(self) -> None:
        """Before the first call of a thread: CUDA keeps the context per thread."""
        self._call("cuCtxSetCurrent", self._context)

    def memory(self) -> tuple[int, int]:
        """Free and total bytes of the GPU, which other processes use too."""
        free, total = c_size_t(), c_size_t()
        self._call("cuMemGetInfo_v2", byref(free), byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> int:
        """Address of `size` bytes on the GPU. Raises CudaError with code OUT_OF_MEMORY where there is no room."""
        address = c_uint64()
        self._call("cuMemAlloc_v2", byref(address), max(size, 1))
        return address.value

    def free(self, address: int) -> None:
        self._call("cuMemFree_v2", address)

    def pinned(self, shape: tuple[int, ...], dtype: str) -> np.ndarray:
        """A zeroed array in page-locked memory, which the GPU copies without a detour. Ends with `free_pinned`."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        address = c_void_p()
        self._call("cuMemAllocHost_v2", byref(address), max(size, 1))
        assert address.value is not None
        array: np.ndarray = np.frombuffer(
            memoryview((ctypes.c_uint8 * size).from_address(address.value)).cast("B"), dtype
        ).reshape(shape)
        array[...] = 0
        return array

    def free_pinned(self, array: np.ndarray) -> None:
        self._call("cuMemFreeHost", array.ctypes.data)

    def stream(self) -> int:
        """A stream that waits for no other."""
        handle = c_void_p()
        self._call("cuStreamCreate", byref(handle), NON_BLOCKING_STREAM)
        assert handle.value is not None
        return handle.value

    def free_stream(self, stream: int) -> None:
        self._call("cuStreamDestroy_v2", stream)

    def wait(self, stream: int) -> None:
        """Until everything in the stream is done; errors of the GPU's work surface here."""
        self._call("cuStreamSynchronize", stream)

    def to_gpu(self, address: int, array: np.ndarray, stream: int) -> None:
        """Copies a pinned, contiguous array, in the stream's order."""
        self._call("cuMemcpyHtoDAsync_v2", address, array.ctypes.data, array.nbytes, stream)

    def to_host(self, array: np.ndarray, address: int, stream: int) -> None:
        """Copies into a pinned, contiguous array, in the stream's order."""
        self._call("cuMemcpyDtoHAsync_v2", array.ctypes.data, address, array.nbytes, stream)

    def begin_capture(self, stream: int) -> None:
        """From here on the stream's work is recorded, not done."""
        self._call("cuStreamBeginCapture_v2", stream, CAPTURE_THREAD_LOCAL)

    def end_capture(self, stream: int) -> int:
        """What was recorded, ready to be launched as one piece of work."""
        graph, executable = c_void_p(), c_void_p()
        self._call("cuStreamEndCapture", stream, byref(graph))
        try:
            self._call("cuGraphInstantiateWithFlags", byref(executable), graph, 0)
        finally:
            self._call("cuGraphDestroy", graph)
        assert executable.value is not None
        return executable.value

    def launch(self, graph: int, stream: int) -> None:
        self._call("cuGraphLaunch", graph, stream)

    def free_graph(self, graph: int) -> None:
        self._call("cuGraphExecDestroy", graph)

    def _attribute(self, which: int) -> int:
        value = c_int()
        self._call("cuDeviceGetAttribute", byref(value), which, self._number)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        _call(self._library, name, *arguments)


def open_device() -> Device:
    """The GPU. Raises InputError, which says what is missing, where there is none or the driver does not answer."""
    problem, library = _open_library()
    if problem:
        raise InputError(f"backend 'tensorrt': {problem}; backend 'onnx' works without a GPU")
    try:
        return Device(library)
    except CudaError as error:
        raise InputError(
            f"backend 'tensorrt': the GPU cannot be used: {error}; is another process using it up?"
        ) from None


def no_gpu() -> str:
    """Why there is no GPU to be used; "" where there is one."""
    return _open_library()[0]


def _open_library() -> tuple[str, Any]:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return f"no NVIDIA driver ({LIBRARY} not found): install it, or in a container use --gpus all", None
    for name, kinds in _SIGNATURES.items():
        try:
            getattr(library, name).argtypes = kinds
        except AttributeError:
            return f"the NVIDIA driver is too old: {LIBRARY} has no {name}; install one for CUDA 12 or later", None
    count = c_int()
    try:
        _call(library, "cuInit", 0)
        _call(library, "cuDeviceGetCount", byref(count))
    except CudaError as error:
        return f"no NVIDIA GPU that answers: {error}; see what nvidia-smi says", None
    return ("" if count.value else "the NVIDIA driver shows no GPU; see CUDA_VISIBLE_DEVICES and nvidia-smi"), library


def _call(library: Any, name: str, *arguments: Any) -> None:
    code = getattr(library, name)(*arguments)
    if code:
        text = c_char_p()
        library.cuGetErrorString(code, byref(text))
        raise CudaError(name, code, (text.value or b"unknown error").decode(errors="replace"))
