"""Tables for the tests of the audit, written and read."""

import dataclasses
import json
from decimal import Decimal
from pathlib import Path

from bench.audit.files import audit_files, read_file
from bench.audit.values import Audit, Mark, Value


def text(finding: object) -> str:
    return json.dumps(dataclasses.asdict(finding), ensure_ascii=False)  # type: ignore[call-overload]


def row(marks: list[tuple[str, Mark]], better: str = "higher", table: str = "t") -> list[Value]:
    """A row of printed values with their marks, of methods a, b, c, ..."""
    return [
        Value(table, "d", chr(97 + i), "M", Decimal(number), better, mark)  # type: ignore[arg-type]
        for i, (number, mark) in enumerate(marks)
    ]


METHODS_AS_ROWS = r"""
\begin{tabular}{l|cc|cc}
\multirow{2}{*}{Method} & \multicolumn{2}{c|}{RealSR} & \multicolumn{2}{c}{DRealSR} \\
 & PSNR$\uparrow$ & LPIPS$\downarrow$ & PSNR$\uparrow$ & LPIPS$\downarrow$ \\ \hline
A & \textbf{24.70} & \underline{0.3018} & 28.13 & 0.3315 \\
B & \underline{24.50} & \textbf{0.3009} & \underline{28.17} & \textbf{0.3189} \\
C & 24.12 & 0.3200 & \textbf{28.50} & \underline{0.3201} \\
\end{tabular}
"""


GROUPED = r"""
\begin{tabular}{lcc}
Method & PSNR & SSIM \\
\multicolumn{3}{c}{\textit{RealSR}} \\
A & \textbf{24.70} & 0.70 \\
B & 24.50 & \textbf{0.71} \\
\multicolumn{3}{c}{\textit{DRealSR}} \\
A & 27.00 & 0.80 \\
B & \textbf{28.00} & \textbf{0.81} \\
\end{tabular}
"""


def read(tmp_path: Path, content: str, name: str = "t.tex") -> tuple[list[Value], Audit]:
    path = tmp_path / name
    path.write_text(content)
    return read_file(path).values, audit_files([path])


def judged(tmp_path: Path, content: str, name: str = "t.tex") -> tuple[dict[str, str], Audit]:
    """What was read ("row metric" -> value and mark) and the audit."""
    values, found = read(tmp_path, content, name)
    return {f"{v.method} {v.metric}": f"{v.value} {v.mark}".strip() for v in values}, found


def tabular(*cells: str, head: str = r"PSNR$\uparrow$") -> str:
    rows = r" \\ ".join(f"{chr(65 + i)} & {cell} & {i}" for i, cell in enumerate(cells))
    return rf"\begin{{tabular}}{{lcc}} Method & {head} & FID \\ {rows} \end{{tabular}}"


BLOCKS = r"""\begin{tabular}{lccc} Method & PSNR$\uparrow$ & LPIPS$\downarrow$ & FID \\ \midrule
BSRGAN & \textbf{26.39} & \textbf{0.267} & \textbf{139} \\ HAT & 25.69 & 0.273 & 141 \\ \midrule
StableSR & 24.70 & 0.302 & 149 \\ SeeSR & 25.18 & 0.301 & 145 \\
Ours & \textbf{25.62} & \textbf{0.284} & \textbf{142} \\
\bottomrule \end{tabular}"""


LEVELS = """|  | DIV2K |  | RealSR |  |
|---|---|---|---|---|
| Method | PSNR ↑ | LPIPS ↓ | PSNR ↑ | LPIPS ↓ |
| A | 24.1 | 0.31 | 25.1 | 0.29 |
| B | **24.9** | 0.30 | **25.3** | 0.28 |
| C | 24.2 | **0.25** | 25.0 | **0.22** |
"""


SECTIONS = """## {}

| Model | Scale | PSNR ↑ | SSIM ↑ |
|---|---|---|---|
| A | 2x | 3{}.1 | 0.9{} |
| A | 4x | 2{}.1 | 0.8{} |
| B | 2x | 3{}.7 | **0.9{}5** |
| B | 4x | 2{}.7 | **0.8{}5** |
"""
