"""From a camera image to the network's input, and boxes back."""

from dataclasses import dataclass

import cv2
import numpy as np

from wsperception.geometry import scale_boxes

PADDING = 114
"""Grey of the padding: the mean of ImageNet's colours, so that it excites a pretrained network least."""


@dataclass(frozen=True)
class Letterbox:
    """How an image was fitted into the network's input.

    image_size  (H, W)  pixels of the image
    input_size  (h, w)  pixels of the network's input
    scale_x, scale_y    input pixels per image pixel; they differ by the rounding of the content's size

    The content lies in the top left corner: a point (x, y) of the image is (x * scale_x, y * scale_y) of the input.
    """

    image_size: tuple[int, int]
    input_size: tuple[int, int]
    scale_x: float
    scale_y: float

    @property
    def content_size(self) -> tuple[int, int]:
        """Height and width of the image within the input, in input pixels."""
        return round(self.image_size[0] * self.scale_y), round(self.image_size[1] * self.scale_x)

    def to_image(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) in input pixels, given in image pixels; float32, not clipped."""
        return scale_boxes(boxes, 1.0 / self.scale_x, 1.0 / self.scale_y)

    def to_input(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (N, 4) in image pixels, given in input pixels; float32, not clipped."""
        return scale_boxes(boxes, self.scale_x, self.scale_y)


def fit(image_size: tuple[int, int], input_size: tuple[int, int]) -> Letterbox:
    """The largest placing of an image (H, W) in an input (h, w) that keeps its proportions to the nearest pixel."""
    (height, width), (input_height, input_width) = image_size, input_size
    ratio = min(input_height / height, input_width / width)
    content_height = min(max(round(height * ratio), 1), input_height)
    content_width = min(max(round(width * ratio), 1), input_width)
    return Letterbox(image_size, input_size, content_width / width, content_height / height)


def letterbox(
    image: np.ndarray, input_size: tuple[int, int], out: np.ndarray | None = None
) -> tuple[np.ndarray, Letterbox]:
    """`image` (H, W, 3) uint8 resized into the network's input, with grey padding to the right or below.

    out  (h, w, 3) uint8, C-contiguous: a buffer to use again; what it held is overwritten

    Returns the buffer (h, w, 3) uint8, RGB as the image, and the placing. Training and inference both call this.
    """
    assert image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8 and image.size > 0
    if out is None:
        out = np.empty((*input_size, 3), np.uint8)
    assert out.shape == (*input_size, 3) and out.dtype == np.uint8 and out.flags.c_contiguous
    placing = fit((image.shape[0], image.shape[1]), input_size)
    height, width = placing.content_size
    # Below half size a bilinear sample skips pixels and thin objects flicker; area averaging does not.
    shrinking = min(placing.scale_x, placing.scale_y) < 0.5
    content = out[:height, :width]
    resized = cv2.resize(
        image, (width, height), dst=content, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )
    assert np.may_share_memory(resized, content)  # OpenCV fills a view of the right size and type in place
    out[height:] = PADDING
    out[:height, width:] = PADDING
    return out, placing
