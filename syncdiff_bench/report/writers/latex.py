r"""Tables as LaTeX: one `table*` environment each, ready to \input into a paper (pdflatex).

Needs the packages booktabs and graphicx; the first line of the output says so. Best in bold, second best underlined.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from syncdiff_bench.characters import one_line
from syncdiff_bench.report.table import Cell, Note, Panel, Table

PREAMBLE = r"% preamble: \usepackage{booktabs,graphicx}"

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
SYMBOLS = {"†": r"\dagger", "‡": r"\ddagger", "§": r"\S"}  # of marks, inside mathematics
BEST = r"\textbf{%s}"
SECOND = r"\underline{%s}"


def latex_text(tables: Sequence[Table]) -> str:
    """The environments, one after the other."""
    return "\n".join([PREAMBLE, *map(_environment, tables)])


def _environment(table: Table) -> str:
    lines = [r"\begin{table*}[t]", r"  \centering", r"  \small", r"  \setlength{\tabcolsep}{4pt}"]
    for index, panel in enumerate(table.panels):
        lines += [r"  \par\medskip"] if index else []
        lines += _tabular(panel)
    if table.notes:
        lines += [r"  \par\smallskip", r"  \begin{minipage}{\linewidth}\footnotesize"]
        lines += [rf"    {_note(note)}\par" for note in table.notes]
        lines += [r"  \end{minipage}"]
    legend = table.legend(BEST % "bold", SECOND % "underlined", escape)
    title = escape(table.caption or f"{table.title}.")
    lines += [
        rf"  \caption{{{f'{title} {legend}'.rstrip()}}}",
        rf"  \label{{tab:syncdiff-bench-{table.label}}}",
    ]
    lines += [r"\end{table*}", ""]
    return "\n".join(lines)


def _tabular(panel: Panel) -> list[str]:
    """Never wider than the text: a table that would be is scaled down. The panel's title fills an empty heading.

    What stands below the headings has a line of its own.
    """
    title = rf"\textsc{{{escape(panel.title)}}}" if panel.title else ""
    header = [[escape(one.text) or title for one in panel.headings]]
    if any(one.below for one in panel.headings):
        header.append([rf"\footnotesize {escape(one.below)}" if one.below else "" for one in panel.headings])
    lines = [
        r"  \resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        rf"  \begin{{tabular}}{{{''.join(one.align[0] for one in panel.headings)}}}",
        r"    \toprule",
        *(rf"    {' & '.join(line)} \\" for line in header),
        r"    \midrule",
    ]
    for index, group in enumerate(panel.groups):
        lines += [r"    \addlinespace"] if index else []
        lines += [rf"    {' & '.join(map(_cell, row.cells))} \\" for row in group]
    return [*lines, r"    \bottomrule", r"  \end{tabular}}"]


def _cell(cell: Cell) -> str:
    text = escape(cell.text + cell.interval)
    if text.startswith(("-", "+")):
        text = f"${text}$"
    return ("%s", BEST, SECOND)[cell.rank] % text + "".join(map(_mark, cell.marks))


def _note(note: Note) -> str:
    return f"{_mark(note.mark)}~{escape(note.text)}" if note.mark else escape(note.text)


def _mark(mark: str) -> str:
    return f"$^{{{SYMBOLS.get(mark, mark)}}}$"


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
