"""What a call of the pipeline is asked for, brought to one value per image."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from cassr.config import SamplingOptions
from cassr.prompts import Captioner, with_caption
from cassr.sampling.images import ImageLike, from_tensors, scaled_size, to_tensors
from cassr.sampling.numbers import integer

StepEnd = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None]
"""diffusers' callback: (pipeline, step, t, {"latents": (B, c, h, w)}) -> the same dict, or None."""
OnStep = Callable[[int, Tensor, Tensor], Tensor]
"""(number of the step, t (), latents (B, c, h, w)) -> latents (B, c, h, w) to go on with."""
Generators = torch.Generator | list[torch.Generator]
Texts = str | Sequence[str] | None


def one_each(value: Any, count: int, name: str) -> list[Any]:
    """One value for each image, from one or a sequence; ValueError: of another length."""
    if isinstance(value, str) or not isinstance(value, Iterable) or not getattr(value, "ndim", 1):
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
    for _, run in groupby(shapes):
        end = start + len(list(run))
        yield from (slice(i, min(i + batch_size, end)) for i in range(start, end, batch_size))
        start = end


def given_references(
    reference: ImageLike | Sequence[ImageLike] | None, lr: Sequence[Tensor], scale: float
) -> list[Tensor]:
    """The caller's reference images, (1, 3, scale*h, scale*w) each; none if not given.

    Raises ValueError: not one for each image, or not of scale x its size.
    """
    if reference is None:
        return []
    given = to_tensors(reference, "reference")
    if len(given) != len(lr):
        raise ValueError(f"reference: expected {len(lr)} images, found {len(given)}")
    for index, (ref, x) in enumerate(zip(given, lr, strict=True)):
        (height, width), (h, w) = scaled_size(x, scale), ref.shape[2:]
        if (h, w) != (height, width):
            expected = f"expected {width}x{height} pixels, found {w}x{h}"
            raise ValueError(f"reference {index}: {expected}")
    return given


@dataclass(frozen=True)
class Prompts:
    """The prompt embeddings of some images.

    Attributes:
        positive: (1, T, D) for each image.
        negative: gives the same, for classifier-free guidance.
    """

    positive: Sequence[Tensor]
    negative: Callable[[], Sequence[Tensor]]

    def part(self, span: slice) -> "Prompts":
        return Prompts(self.positive[span], lambda: self.negative()[span])

    def stacked(self, guidance_scale: float) -> Tensor:
        """(B, T, D) without classifier-free guidance, (2*B, T, D) with: negative half first."""
        if guidance_scale == 1:
            return torch.cat(list(self.positive))
        return torch.cat([*self.negative(), *self.positive])


def prompts_for(
    images: Sequence[Tensor],
    embed: Callable[[str], Tensor],
    options: SamplingOptions,
    prompt: Texts = None,
    negative_prompt: Texts = None,
    caption: Texts | Captioner = None,
    embeds: Tensor | None = None,
    negative_embeds: Tensor | None = None,
) -> Prompts:
    """The prompt of each image: its caption, if any, and the general description.

    Args:
        images: (1, 3, h, w) each, in [0, 1].
        embed: text -> (1, T, D); a text is embedded once.
        prompt, negative_prompt: one text or one for each image; None: those of the options.
        caption: a text, one for each image, or a function from PIL image to text.
        embeds: (1 or number of images, T, D) instead of caption and general description.
        negative_embeds: the same instead of the negative prompt.

    Raises ValueError: not one text for each image, or embeddings of another shape.
    """
    known, count = cache(embed), len(images)
    described = _one_text_each(prompt, options.prompt, count, "prompt")
    refused = _one_text_each(negative_prompt, options.negative_prompt, count, "negative_prompt")
    if embeds is not None:
        each = _embeddings(embeds, count, "prompt_embeds")
    else:
        if callable(caption):
            caption = [caption(image) for image in from_tensors(list(images), "pil")]
        captions = _one_text_each(caption, "", count, "caption")
        each = [known(with_caption(*two)) for two in zip(captions, described, strict=True)]
    if negative_embeds is None:
        return Prompts(each, lambda: [known(text) for text in refused])
    others = _embeddings(negative_embeds, count, "negative_prompt_embeds")
    return Prompts(each, lambda: others)


def _one_text_each(given: Texts, default: str, count: int, name: str) -> list[str]:
    texts = one_each(default if given is None else given, count, name)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name}={given!r}: expected a text, or one for each image")
    return texts


def _embeddings(embeds: Tensor, count: int, name: str) -> list[Tensor]:
    if embeds.ndim != 3 or embeds.shape[0] not in (1, count):
        many = "1" if count == 1 else f"1 or {count}"
        raise ValueError(f"{name}: expected ({many}, T, D), found {tuple(embeds.shape)}")
    return list(embeds.expand(count, -1, -1).split(1))


def seeds_for(seed: Any, count: int, generator: Generators | None = None) -> list[int]:
    """A seed for each image, given or drawn; ValueError: no integers, or not one for each."""
    if generator is None:
        return [integer(one, "seed") for one in one_each(seed, count, "seed")]
    each = one_each(generator, count, "generator")
    return [int(torch.randint(2**62, (1,), generator=g, device=g.device)) for g in each]


def step_end(pipeline: Any, callback: StepEnd | None, inputs: Sequence[str]) -> OnStep:
    """diffusers' callback as `cassr.cascade` calls it; ValueError: inputs but the latents."""
    inputs = getattr(callback, "tensor_inputs", inputs)  # diffusers' own say what they need
    if unknown := sorted(set(inputs) - set(pipeline._callback_tensor_inputs)):
        named = f"callback_on_step_end_tensor_inputs {unknown[0]!r}"
        raise ValueError(f"{named}: expected 'latents' or nothing")

    def on_step(index: int, t: Tensor, latents: Tensor) -> Tensor:
        if callback is None:
            return latents
        given = callback(pipeline, index, t, dict.fromkeys(inputs, latents))
        return (given or {}).get("latents", latents)

    return on_step
