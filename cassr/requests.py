"""What a call of the pipeline is asked for, brought to one value per image."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor

from cassr.prompts import with_caption
from cassr.sampling.images import ImageLike, from_tensors, to_tensors

if TYPE_CHECKING:
    import torch

    from cassr.prompts import Captioner


def one_each(value: Any, count: int, name: str) -> list[Any]:
    """One value for each of `count` images, from a single value or a sequence.

    Raises:
        ValueError: a sequence of another length.
    """
    if isinstance(value, str | int):
        return [value] * count
    values = list(value)
    if len(values) != count:
        raise ValueError(
            f"{name}: expected one, or one for each of {count} images, found {len(values)}"
        )
    return values


def spans(shapes: Sequence[torch.Size], batch_size: int) -> Iterator[slice]:
    """Runs of consecutive equal shapes, at most batch_size long."""
    start = 0
    for index in range(1, len(shapes) + 1):
        full = index - start == batch_size
        if index == len(shapes) or full or shapes[index] != shapes[start]:
            yield slice(start, index)
            start = index


def prompts_for(
    images: Sequence[Tensor], caption: str | Sequence[str] | Captioner | None, description: str
) -> list[str]:
    """The prompt of each image: its caption, if any, and the general description.

    Args:
        images: (1, 3, h, w) each, in [0, 1].
        caption: a text, one for each image, or a function from PIL image to text.
    """
    if caption is None:
        return [description] * len(images)
    if callable(caption):
        captions = [caption(image) for image in from_tensors(list(images), "pil")]
    else:
        captions = one_each(caption, len(images), "caption")
    return [with_caption(text, description) for text in captions]


def given_references(
    reference: ImageLike | Sequence[ImageLike] | None, lr: Sequence[Tensor], scale: int
) -> list[Tensor]:
    """The caller's reference images, (1, 3, scale*h, scale*w) each; none if not given.

    Raises:
        ValueError: not one for each image, or not of scale x its size.
    """
    if reference is None:
        return []
    given = to_tensors(reference, "reference")
    if len(given) != len(lr):
        raise ValueError(f"reference: expected {len(lr)} images, found {len(given)}")
    for index, (ref, x) in enumerate(zip(given, lr, strict=True)):
        expected = f"{x.shape[3] * scale}x{x.shape[2] * scale}"
        found = f"{ref.shape[3]}x{ref.shape[2]}"
        if found != expected:
            raise ValueError(f"reference {index}: expected {expected} pixels, found {found}")
    return given
