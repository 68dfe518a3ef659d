"""Headings of tables: which metrics they name, and which direction their arrows state."""

import re
from collections.abc import Sequence
from functools import cache

from bench.base.types import Better
from bench.metrics.catalogue import METRICS
from bench.results.published import plain

ARROWS: dict[str, Better] = {"↑": "higher", "↓": "lower"}
SCALE = re.compile(r"[x×]\s*\d|\d\s*[x×]")
BEST = re.compile(r"\b(best|highest|top)\b", re.IGNORECASE)
BOLD = re.compile(r"\b(bold|boldface|red)\b", re.IGNORECASE)
SHOWN = re.compile(r"(\\(?:textbf|bf|textcolor\{red\})|\*\*)\W*(the )?best\b", re.IGNORECASE)
OURS = re.compile(r"\bours?\b", re.IGNORECASE)
VARIANT = re.compile(r"\((?:rgb|y|ycbcr|luma|dB|vgg|alex|mean|avg\.?)\)", re.IGNORECASE)
"""What tells how a metric was taken, but not which way it is better."""
OTHER = re.compile(
    r"\W*((running|inference|training|gpu|cpu|peak|model|total|average|no\.? of|number of)\s+)?"
    r"(params?|parameters?|[kmgt]?(flops|macs)|mult\w*-adds|times?|runtimes?|latenc(y|ies)|fps|speed"
    r"|memory|storage|size|images|years?|steps?|epochs?|iter(ation)?s?)\W*(\([^)]*\)|\[[^]]*\])?\W*",
    re.IGNORECASE,
)
"""Headings of what is no value of a metric that the caption names."""
CHANGE = re.compile(r"\W*(Δ|delta|gains?|improvements?|differences?)\b", re.IGNORECASE)


@cache
def known_metrics() -> dict[str, Better]:
    """Directions of the registered metrics, by every name that they go by."""
    names: dict[str, Better] = {"ssim": "higher", "psnr": "higher"}
    names |= dict.fromkeys(("mse", "rmse", "mae"), "lower")
    names |= dict.fromkeys(("srcc", "srocc", "plcc", "lcc", "krcc", "krocc"), "higher")
    for spec in METRICS:
        for name in (spec.name, spec.title, spec.pyiqa_name):
            names.setdefault(plain(name), spec.better)
    return {name: better for name, better in names.items() if name}


def split_metric(text: str) -> tuple[str, Better | None]:
    """ "LPIPS ↓ [74]" -> ("LPIPS", "lower"): the name, and the direction the arrow states."""
    stated = next((better for arrow, better in ARROWS.items() if arrow in text), None)
    bare = re.sub(r"[↑↓]|\[[^\]]*\]|\((?:dB|↑|↓|\s)*\)", "", text)
    return " ".join(bare.split()), stated


def direction(name: str, stated: Better | None) -> Better | None:
    """The metric's own direction where it is known, else the stated one."""
    own = known_metrics().get(plain(name))
    return own or known_metrics().get(plain(VARIANT.sub("", name)), stated)


def metric_names(text: str) -> list[str]:
    """The metrics that a heading names, usually one; "PSNR / SSIM ↑" names two, [] is none."""
    parts = [part for part in re.split(r"\s*[/|,&(]\s*|\)\s*", text) if part]
    if len(parts) > 1 and all(_is_one_metric(part) for part in parts):
        return parts
    return [text] if _is_one_metric(text) else []


def led_by(text: str) -> tuple[str, str]:
    """ "RealSR PSNR ↑" -> ("RealSR", "PSNR ↑"): what a heading says before known metrics."""
    words = text.split()
    for start in range(len(words)):
        rest = " ".join(words[start:])
        named = [plain(split_metric(name)[0]) for name in metric_names(rest)]
        if named and all(name in known_metrics() for name in named):
            lead = " ".join(words[:start])
            return (lead, rest) if re.search(r"\w", lead) else ("", text)
    return "", text


def tells_marks(caption: str) -> bool:
    """Whether a caption says that marks mean the best: "Best in bold", "the **best** ..."; not
    where it speaks of "our" method, whose values may be meant."""
    sentences = [one for one in re.split(r"[.;](?:\s|$)", caption) if not OURS.search(one)]
    return any((BEST.search(s) and BOLD.search(s)) or SHOWN.search(s) for s in sentences)


def is_metric(text: str) -> bool:
    return bool(metric_names(text))


def _is_one_metric(text: str) -> bool:
    name, stated = split_metric(text)
    return bool(name) and direction(name, stated) is not None


def named_in(caption: str) -> str:
    """The known metrics that a caption names, as a heading would: "PSNR/SSIM"; "" for none."""
    words = re.findall(r"[A-Za-z][\w-]*", caption)
    return "/".join(dict.fromkeys(w for w in words if not w.islower() and is_metric(w)))


def ends_in_metric(text: str) -> bool:
    return any(map(is_metric, [text, *text.split()[-1:]]))


def tells_metrics(texts: Sequence[str]) -> bool:
    """Whether at least half of these are, or end in, a metric."""
    return 2 * sum(map(ends_in_metric, texts)) >= len(texts)


def is_change(name: str, texts: Sequence[str]) -> bool:
    """Whether a row tells what was gained: all of it has signs, or its name says so."""
    return bool(CHANGE.match(name)) or (bool(texts) and all(text[0] in "+-−↑↓▲▼" for text in texts))
