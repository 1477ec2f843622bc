"""The pictures of terminal and page in the documentation, made by the commands that they show: `make screenshots`.

docs/terminal.svg: `report` at 80 columns. docs/page.png: the HTML page, in the Chromium of the PATH.
Minutes of a CPU, nothing by hand; not for Windows, which has no pty.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

DOCS = Path(__file__).resolve().parent
METHODS = ("gt", "static", "wav2lip", "syncdiff")
MADE = ("--set", "wav2lip.checkpoint=pocket")
COLUMNS = 80
WINDOW = "1300,1000"


def terminal(command: list[str], folder: Path) -> str:
    """What a command prints on a terminal of 80 columns, as SVG."""
    ours, theirs = pty.openpty()
    surroundings = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)}
    with subprocess.Popen(command, cwd=folder, env=surroundings, stdout=theirs, stderr=theirs, stdin=theirs):
        os.close(theirs)
        said = b"".join(iter(lambda: _block(ours), b"")).decode()
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        console = Console(record=True, width=COLUMNS, file=nowhere, force_terminal=True)
        console.print(Text(f"$ {' '.join(command)}", "bold"))
        console.print(Text.from_ansi(said.replace("\r\n", "\n")), soft_wrap=True)
    svg = console.export_svg(title="syncdiff-bench", unique_id="terminal")
    return re.sub(
        r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL
    )  # fonts of another server: the reader's own will do


def _block(terminal: int) -> bytes:
    """b"" at the end, which Linux tells as an error."""
    try:
        return os.read(terminal, 1 << 16)
    except OSError:
        return b""


def picture(browser: str, page: Path, out: Path) -> None:
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WINDOW}")
    subprocess.run([browser, *flags, f"--screenshot={out}", page.as_uri()], check=True, capture_output=True)


def main() -> None:
    """Everything, from an empty folder."""
    methods = [word for name in METHODS for word in ("--method", name)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(["syncdiff-bench", "run", *methods, *MADE], cwd=folder, check=True)
        shown = ["syncdiff-bench", "report", "runs/pocket-test"]
        (DOCS / "terminal.svg").write_text(terminal(shown, folder), encoding="utf-8")
        browser = shutil.which("chromium") or shutil.which("google-chrome")
        if browser is None:
            sys.exit("docs/page.png stays as it is: it needs chromium")
        subprocess.run([*shown, "--html", "report.html", "--clips", "4"], cwd=folder, check=True)
        picture(browser, folder / "report.html", DOCS / "page.png")


if __name__ == "__main__":
    main()
