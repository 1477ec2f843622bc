r"""Comparisons as LaTeX: one `table*` environment each, ready to \input into a paper (pdflatex).

Needs the packages booktabs, graphicx and xcolor; the first line of the output says so.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from syncdiff_bench.report.paper_comparison import Comparison
from syncdiff_bench.report.writers.characters import one_line
from syncdiff_bench.report.writers.layout import (
    MARK_NOTES,
    Entry,
    Grid,
    Line,
    Mark,
    lay_out,
    marks,
    notes,
    rank_note,
)

PREAMBLE = r"% preamble: \usepackage{booktabs,graphicx,xcolor}"

# Characters by the command that prints them, in mathematics and in text, whatever the font encoding.
MATHS = {
    **{"±": "pm", "×": "times", "·": "cdot", "≤": "leq", "≥": "geq", "≈": "approx", "≠": "neq"},
    **{"↑": "uparrow", "↓": "downarrow", "→": "rightarrow", "←": "leftarrow", "∞": "infty", "∈": "in"},
    **{"α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "varepsilon", "η": "eta", "θ": "theta"},
    **{"λ": "lambda", "μ": "mu", "µ": "mu", "π": "pi", "ρ": "rho", "σ": "sigma", "τ": "tau", "φ": "varphi"},
    **{"χ": "chi", "ψ": "psi", "ω": "omega", "Δ": "Delta", "Λ": "Lambda", "Σ": "Sigma", "Φ": "Phi", "Ω": "Omega"},
}
TEXTS = {
    **{"\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum", "–": "textendash", "—": "textemdash"},
    **{"…": "dots", "‘": "textquoteleft", "’": "textquoteright", "“": "textquotedblleft", "”": "textquotedblright"},
    **{"†": "dag", "‡": "ddag", "§": "S", "©": "copyright", "ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"},
    **{"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "ı": "i"},
}
# Combining accents and the commands that put them on a letter.
ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "=", "\u0306": "u", "\u0307": "."},
    **{"\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v", "\u0323": "d", "\u0327": "c"},
}
ESCAPES = {
    **{character: f"\\{character}" for character in "{}$&#_%"},
    **{character: f"${character}$" for character in "<>|"},
    **{character: rf"$\{name}$" for character, name in MATHS.items()},
    **{character: rf"\{name}{{}}" for character, name in TEXTS.items()},
    **{"[": "{[}", "*": "{*}"},  # after a line break they would be read as its argument
    **{"−": "$-$", "⁻": "$^{-}$", "°": r"$^{\circ}$", "²": "$^{2}$", "³": "$^{3}$"},
}
SYMBOLS: dict[Mark, str] = {"beats_truth": r"\dagger", "own_judge": r"\ddagger", "departs": r"\S"}
SECOND_COLOUR = "violet"  # as in the paper


def to_latex(comparisons: Sequence[Comparison]) -> str:
    """Best in bold, second best in bold violet, as in the paper."""
    return "\n".join([PREAMBLE, *(_environment(comparison) for comparison in comparisons)])


def _environment(comparison: Comparison) -> str:
    table = comparison.table
    grids = [lay_out(comparison, panel) for panel in comparison.panels]
    lines = [r"\begin{table*}[t]", r"  \centering", r"  \small", r"  \setlength{\tabcolsep}{4pt}"]
    for index, grid in enumerate(grids):
        lines += [r"  \par\medskip"] if index else []
        lines += _tabular(grid)
    footer = [rf"$^{{{SYMBOLS[mark]}}}$~{escape(MARK_NOTES[mark])}" for mark in marks(grids)]
    footer += [escape(note) for note in notes(comparison)]
    if footer:
        lines += [r"  \par\smallskip", r"  \begin{minipage}{\linewidth}\footnotesize"]
        lines += [rf"    {line}\par" for line in footer]
        lines += [r"  \end{minipage}"]
    second = rf"\textbf{{\textcolor{{{SECOND_COLOUR}}}{{bold {SECOND_COLOUR}}}}}"
    legend = rank_note(comparison, r"\textbf{bold}", second)
    lines += [
        rf"  \caption{{{escape(table.caption)} {legend}}}",
        rf"  \label{{tab:syncdiff-bench-{table.number}}}",
    ]
    lines += [r"\end{table*}", ""]
    return "\n".join(lines)


def _tabular(grid: Grid) -> list[str]:
    """Never wider than the text: a table that would be is scaled down."""
    n_columns = len(grid.header)
    header = [rf"{escape(grid.stub)} & \textsc{{{escape(grid.title)}}}"]
    header += [f"{escape(label)} {escape(arrow)}" for label, arrow in grid.header]
    lines = [
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{ll{'r' * n_columns}}}",
        r"    \toprule",
        rf"    {' & '.join(header)} \\",
        r"    \midrule",
    ]
    for index, group in enumerate(grid.groups):
        lines += [r"    \addlinespace"] if index else []
        lines += [f"    {_line(line)}" for line in group]
    return [*lines, r"    \bottomrule", r"  \end{tabular}}"]


def _line(line: Line) -> str:
    cells = [escape(line.row_label), escape(line.label), *(_entry(entry) for entry in line.entries)]
    return " & ".join(cells) + r" \\"


def _entry(entry: Entry) -> str:
    text = escape(entry.text)
    if entry.text.startswith(("-", "+")):
        text = f"${text}$"
    if entry.rank == 1:
        text = rf"\textbf{{{text}}}"
    elif entry.rank == 2:
        text = rf"\textbf{{\textcolor{{{SECOND_COLOUR}}}{{{text}}}}}"
    return text + "".join(rf"$^{{{SYMBOLS[mark]}}}$" for mark in entry.marks)


def escape(text: str) -> str:
    """Text that LaTeX prints as it is; a character that not every LaTeX knows as "[U+6570]"."""
    # Character by character, so that what a replacement brings in is not escaped again.
    escaped = "".join(_character(character) for character in one_line(text))
    return re.sub("-(?=-)", "-{}", escaped)  # else one long dash


def _character(character: str) -> str:
    if character in ESCAPES:
        return ESCAPES[character]
    if character.isascii():
        return character
    base, *accents = list(unicodedata.normalize("NFD", character))
    if len(accents) == 1 and accents[0] in ACCENTS and base.isascii():
        return rf"\{ACCENTS[accents[0]]}{{{base}}}"
    return rf"{{[}}U+{ord(character):04X}]"
