"""Which file is meant by which name: the one of that stem, or by an affix that all files share."""

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

from bench.base.errors import BenchError
from bench.base.text import printable
from bench.files.image_folders import READ

STEM = "{stem}"
_APART = re.compile(r"(.*[\W_])?\{stem\}([\W_].*)?")
"""A stem set apart from its affix: "Lincoln_x4" is of Lincoln rather than of "Lin"."""
_MARK = re.compile(r"[ _.-](?:hr|gt)$", re.IGNORECASE)


@dataclass(frozen=True)
class Matched:
    """Files by the name that was looked for.

    Attributes:
        files: those that were found.
        pattern: how they are named, with `{stem}` for that name (less an "_HR" that all have).
    """

    files: Mapping[str, Path]
    pattern: str = STEM

    @property
    def note(self) -> str:
        """What is to be said of it; "" where files have the names that were looked for."""
        for name, path in self.files.items():
            if same(name) != same(path.stem):
                taken = f"{printable(path.name)} is taken for '{printable(name)}', and so on"
                return f"files are named '{printable(self.pattern)}': {taken}"
        return ""


def same(name: str) -> str:
    """A name as it is compared: composed and decomposed accents (NFC, NFD) are one."""
    return normalize("NFC", name)


def matched(files: Mapping[str, Path], wanted: Collection[str], pattern: str = "") -> Matched:
    """Match files, by stem, with the names that are wanted, never by position.

    `pattern` is how the files are named ("{stem}_x4"); BenchError where `{stem}` is not in it once.
    Without it they have the names that are wanted or, where not one has, one affix that all share,
    if only one fits.
    """
    given = [_checked(pattern)] if pattern else []
    known = {same(stem): path for stem, path in files.items()}
    names = {same(name): name for name in wanted}
    marks = {ending[0] if (ending := _MARK.search(name)) else "" for name in names}
    for mark in dict.fromkeys(["", *(marks if len(marks) == 1 else ())]):
        cores = {core.removesuffix(mark): name for core, name in names.items()}
        for tried in given or _patterns(known, cores):
            if found := _found(known, cores, tried):
                return Matched(found, tried)
    return Matched({})


def _checked(pattern: str) -> str:
    stem = pattern.removesuffix(suffix) if (suffix := Path(pattern).suffix.lower()) in READ else ""
    if pattern.count(STEM) != 1:
        raise BenchError(
            f"'{printable(pattern)}': expected how files are named, with {STEM} in it once, as in "
            f"'{STEM}_x4'"
        )
    return same(stem or pattern)


def _found(known: Mapping[str, Path], cores: Mapping[str, str], pattern: str) -> dict[str, Path]:
    named = ((name, pattern.replace(STEM, core)) for core, name in cores.items())
    return {name: known[stem] for name, stem in named if stem in known}


def _patterns(known: Mapping[str, Path], cores: Mapping[str, str]) -> list[str]:
    """The bare stem where one file has it, else the affix that makes the names of all files, or
    of as many as there are names; none where several do."""
    if known.keys() & cores.keys():
        return [STEM]
    most = min(len(known), len(cores))
    tried = dict.fromkeys(_affixes(known, cores))
    fits = [each for each in tried if len(_found(known, cores, each)) == most and _all(known, each)]
    fits = [each for each in fits if _APART.fullmatch(each)] or fits
    return fits if len(fits) == 1 else []


def _affixes(known: Mapping[str, Path], cores: Mapping[str, str]) -> Iterator[str]:
    """Candidates, of one file with every name or, where names are fewer, of one name."""
    files, names = sorted(known), sorted(cores)
    files, names = (files[:1], names) if len(files) <= len(names) else (files, names[:1])
    for stem, core in ((stem, core) for stem in files for core in names if core in stem):
        for before, _, after in {stem.partition(core), stem.rpartition(core)}:
            # A number is one word: 10 is not the image 1 with a 0 behind it.
            joints = (before[-1:] + core[:1], core[-1:] + after[:1])
            if not any(len(joint) == 2 and joint.isdigit() for joint in joints):
                yield f"{before}{STEM}{after}"


def _all(known: Mapping[str, Path], pattern: str) -> bool:
    before, _, after = pattern.partition(STEM)
    return all(stem.startswith(before) and stem.endswith(after) for stem in known)


def without_partner(path: Path, others: Mapping[str, str], folder: Path) -> str:
    """Why a file is left over; points out a name in the other folder, known by its folded form,
    that differs by case."""
    twin = others.get(same(path.stem).casefold(), "")
    differs = twin and same(twin) != same(path.stem)  # else --sr-name says another
    hint = f"; '{printable(twin)}' there differs in upper and lower case" if differs else ""
    return f"has no partner in {printable(folder)}{hint}"
