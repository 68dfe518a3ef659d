"""Tables in LaTeX, compiled and read back."""

import dataclasses
import re
import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from table_example import LAYOUTS

from bench.reports import get_report
from bench.reports.tables.latex import escape as escape_latex
from bench.reports.tables.latex import latex
from bench.results.view import View

from . import results_example as ex


def test_latex_escapes() -> None:
    assert escape_latex("a_b&50%#$x{}") == r"a\_b\&50\%\#\$x\{\}"
    assert escape_latex("~^\\") == r"\textasciitilde{}\textasciicircum{}\textbackslash{}"
    assert escape_latex("a--b") == "a-{}-b"
    assert escape_latex("[2pt] *") == "{[}2pt{]} {*}"
    assert escape_latex("é中") == r"é\benchchar{中}{4E2D}"
    assert escape_latex("a\n\nb\u200bc") == r"a\textbackslash{}n\textbackslash{}nb\allowbreak{}c"


def test_latex_breaks_a_long_head_between_words() -> None:
    results = ex.example()
    named = dataclasses.replace(results.methods[0], title="Real-ESRGAN anime video v3")
    table = latex(dataclasses.replace(results, methods=(named, *results.methods[1:])))
    assert r"\shortstack[c]{Real-ESRGAN\\anime video v3" in table
    rows = View(layout="methods-as-rows")
    own = dataclasses.replace(results.metrics[0], title="edge_sharpness_score")
    table = latex(dataclasses.replace(results, metrics=(own, *results.metrics[1:])), rows)
    assert r"\shortstack[c]{edge\_sharpness\_score\\$\uparrow$" in table


def test_latex_golden(tmp_path: Path) -> None:
    table, _ = get_report("latex").load()(ex.example(), tmp_path, View(every_metric=True))
    text = table.read_text()
    assert r"\begin{tabular}{llccc}" in text
    assert r"\multirow{4}{*}{\shortstack[l]{Quick (bicubic)\\n = 2}} & PSNR-Y $\uparrow$" in text
    assert (
        r" & LPIPS $\downarrow$ & 0.5050 & \textcolor{blue}{\underline{0.4050}}"
        r" & \textcolor{red}{\textbf{0.3050}} \\"
    ) in text
    assert r" & FID $\downarrow$ & " + " & ".join([r"--\textsuperscript{3}"] * 3) + r" \\" in text


def compiled(folder: Path, file: str) -> str:
    """Run pdflatex on `file` and return its log; fails with the log when it fails."""
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", file]
    done = subprocess.run(command, cwd=folder, capture_output=True, timeout=120, check=False)
    log = (folder / file).with_suffix(".log").read_text(errors="replace")
    assert done.returncode == 0, log[-3000:]
    return log


def pdf_text(pdf: Path) -> str:
    done = subprocess.run(["pdftotext", "-layout", pdf, "-"], capture_output=True, check=True)
    return unicodedata.normalize("NFKC", done.stdout.decode())


needs_latex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is absent")


needs_pdftotext = pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="pdftotext is absent"
)


@needs_latex
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "make", [ex.example, ex.hostile, lambda: ex.wide(12), lambda: ex.wide(9, 7, 1)]
)
def test_latex_compiles_alone_and_by_input(tmp_path: Path, make, layout: str) -> None:  # type: ignore[no-untyped-def]
    get_report("latex").load()(make(), tmp_path, View(layout=layout))  # type: ignore[arg-type]
    log = compiled(tmp_path, "table_standalone.tex")
    assert not re.search(r"(?i)warning|undefined|overfull|missing character", log)
    packages = "".join(
        rf"\usepackage{{{p}}}" for p in ["booktabs", "multirow", "xcolor", "adjustbox"]
    )
    (tmp_path / "paper.tex").write_text(
        rf"\documentclass{{article}}\usepackage[T1]{{fontenc}}{packages}"
        r"\begin{document}Text.\input{table.tex}\end{document}"
    )
    assert "undefined" not in compiled(tmp_path, "paper.tex").lower()


@needs_latex
@needs_pdftotext
def test_latex_prints_special_characters_as_they_are(tmp_path: Path) -> None:
    names = [r"a_b&50%#1", r"$x{y}~z^w\cmd", "<b>|p|", "[2pt]**q**--r", "näive ✓ ×4", "中"]
    values = {("d", name, "a", "psnr_y"): 20.0 for name in names}
    results = ex.results(values, [ex.PSNR])
    get_report("latex").load()(results, tmp_path, View(layout="methods-as-rows"))
    compiled(tmp_path, "table_standalone.tex")
    text = pdf_text(tmp_path / "table_standalone.pdf")
    for name in [*names[:4], "näive", "U+4E2D"]:
        assert name in text.replace("˜", "~").replace("ˆ", "^")
