"""Headings of tables: which metrics they name, and which direction their arrows state."""

import re
from collections.abc import Mapping, Sequence
from functools import cache

from bench.base.types import Better
from bench.metrics.catalogue import METRICS
from bench.results.published import plain

Given = Mapping[str, Better]
ARROWS: dict[str, Better] = {"↑": "higher", "↓": "lower"}
FACTOR = re.compile(r"[x×]\s*\d+|\d+\s*[x×]")
"""How many times an image is enlarged, which tells test sets apart."""
QUALIFIED = re.compile(r"(.*?[^\s(])\s*\(([^()]+)\)(\s*[↑↓]*)")
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
CHANGE = re.compile(
    r"(Δ|\b(delta|gains?|improvements?|differences?)\b)(\s+(in|of)\b)?", re.IGNORECASE
)


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


def turned(text: str, given: Given, head: bool) -> str:
    """ "PSNR (x4) ↑" -> "x4 PSNR ↑" and, in a row of headings, "CSIQ(PLCC/SRCC)" -> "CSIQ
    PLCC/SRCC": a heading as most are, with the arrow of a direction that is given for it; any other
    text as it is."""
    if (better := given.get(plain(split_metric(text)[0]))) and not split_metric(text)[1]:
        text += next(f" {arrow}" for arrow, way in ARROWS.items() if way == better)
    match = QUALIFIED.fullmatch(text)
    if match and is_metric(match[1]) and FACTOR.fullmatch(match[2].strip()):
        return f"{match[2].strip()} {match[1]}{match[3]}"
    return f"{match[1]} {match[2]}{match[3]}" if match and head and _known(match[2]) else text


def change_in(text: str, signed: bool) -> tuple[str, str, str] | None:
    """ "RealSR Δ PSNR" -> ("RealSR", "Δ PSNR ↑", ""): what a heading of changes names, and at last
    why its values, with signs or without, are not judged; None for any other heading."""
    rest, times = CHANGE.subn(" ", text, count=1)
    lead, metric = led_by(" ".join(rest.split()))
    if not times or (re.search(r"\w", rest) and not _known(metric)):  # ΔE is a metric
        return None
    name, stated = split_metric(metric)
    gained = signed and direction(name, None) == "higher"
    arrow = next((arrow for arrow, way in ARROWS.items() if way == stated), "↑" if gained else "")
    why = "is a change, of which more may be better or worse; --metric or an arrow decides"
    return lead, f"Δ {name} {arrow}".strip(), "" if arrow else why


def _known(text: str) -> bool:
    named = [plain(split_metric(name)[0]) for name in metric_names(text)]
    return bool(named) and all(name in known_metrics() for name in named)


def led_by(text: str) -> tuple[str, str]:
    """ "RealSR PSNR ↑" -> ("RealSR", "PSNR ↑"): what a heading says before known metrics."""
    words = text.split()
    for start in range(len(words)):
        if _known(rest := " ".join(words[start:])):
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
    named = CHANGE.match(re.sub(r"\A\W+", "", name))
    return bool(named) or (bool(texts) and all(text[0] in "+-−↑↓▲▼" for text in texts))
