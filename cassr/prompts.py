"""Prompts: carried embeddings, the text encoder where there is one, captions."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import PIL.Image
import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import CLIPTextModel, CLIPTokenizer

Captioner = Callable[[PIL.Image.Image], str]


class PromptEmbeddings(ModelMixin, ConfigMixin):  # type: ignore[misc]
    """Embeddings (T, D) of fixed prompts, saved beside the other modules of a pipeline.

    `tokens` is T (77 for SD-1.5), `dim` is D (768 for SD-1.5).
    """

    @register_to_config
    def __init__(self, prompts: Sequence[str], tokens: int, dim: int) -> None:
        super().__init__()
        table = torch.zeros(len(prompts), tokens, dim)
        self.table = nn.Parameter(table, requires_grad=False)

    @classmethod
    def from_tensor(cls, prompts: Sequence[str], table: Tensor) -> "PromptEmbeddings":
        """table: (len(prompts), T, D)."""
        made = cls(list(prompts), *table.shape[1:])
        made.table.data.copy_(table)
        return made

    def find(self, prompt: str) -> Tensor | None:
        """(1, T, D), or None when the prompt is not carried."""
        if prompt not in self.config["prompts"]:
            return None
        index = list(self.config["prompts"]).index(prompt)
        return self.table[index : index + 1]


def encode_texts(
    tokenizer: "CLIPTokenizer", text_encoder: "CLIPTextModel", texts: Sequence[str]
) -> Tensor:
    """Embeddings of texts by CLIP, cut to its length: (len(texts), T, D)."""
    length = text_encoder.config.max_position_embeddings
    tokens = tokenizer(
        list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    with torch.no_grad():
        return text_encoder(tokens.input_ids.to(text_encoder.device))[0]


def encode_prompt(
    prompt: str,
    carried: PromptEmbeddings | None,
    tokenizer: "CLIPTokenizer | None",
    text_encoder: "CLIPTextModel | None",
) -> Tensor:
    """See `CasSRPipeline.embed_prompt`."""
    if carried is not None and (found := carried.find(prompt)) is not None:
        return found
    if tokenizer is not None and text_encoder is not None:
        return encode_texts(tokenizer, text_encoder, [prompt])
    known = ", ".join(map(repr, carried.config["prompts"])) if carried is not None else "none"
    raise ValueError(
        f"prompt {prompt!r}: this model has no text encoder and carries embeddings of {known} "
        "only; use one of these, or load a text encoder and tokenizer"
    )


def with_caption(caption: str, description: str) -> str:
    """The prompt for an image: its caption, then the general description."""
    return ", ".join(part for part in (caption.strip(), description) if part)


class BlipCaptioner:
    """Captions by BLIP from `transformers`; `model` is a folder or hub id."""

    def __init__(
        self,
        model: str = "Salesforce/blip-image-captioning-base",
        *,
        revision: str = "main",
        device: str = "cpu",
        max_new_tokens: int = 30,
    ) -> None:
        from transformers import BlipForConditionalGeneration, BlipProcessor

        self._processor: Any = BlipProcessor.from_pretrained(model, revision=revision)
        network: Any = BlipForConditionalGeneration.from_pretrained(model, revision=revision)
        self._network = network.to(device).eval()
        self._max_new_tokens = max_new_tokens

    def __call__(self, image: PIL.Image.Image) -> str:
        inputs = self._processor(images=image, return_tensors="pt").to(self._network.device)
        with torch.no_grad():
            tokens = self._network.generate(**inputs, max_new_tokens=self._max_new_tokens)
        return str(self._processor.decode(tokens[0], skip_special_tokens=True)).strip()
