"""Draws docs/demo.png, report.png and gestures.png by running the demo, which takes six minutes on two cores.

python docs/make_pictures.py    # needs chromium
"""

from __future__ import annotations

import html
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

DOCS = Path(__file__).parent
COLUMNS = 80
SHEET = ("--all", "--recording", "user37_dc", "--bin-ms", "100", "--scale", "2")
TERMINAL = """<!doctype html><meta charset="utf-8"><style>
body { margin: 0; padding: 20px 24px; background: #141518; }
pre { margin: 0; color: #d8d8d8; font: 15px/21px "DejaVu Sans Mono", monospace; }
b { color: #ffffff; }
</style><pre><b>$ make demo</b>
%s</pre>"""
LINE_PX, MARGINS_PX, COLUMN_PX = 21, 40, 9.05
"""Of the terminal's picture: a line, the margins above and below, and a character."""


def main() -> None:
    with TemporaryDirectory() as folder:
        demo, page = Path(folder, "demo"), Path(folder, "terminal.html")
        said = _run("demo", "--out", str(demo)).replace(folder + os.sep, "").rstrip()
        page.write_text(TERMINAL % html.escape(said), encoding="utf-8")
        lines = said.splitlines()
        width = int(max(map(len, lines)) * COLUMN_PX) + MARGINS_PX + 8
        _photograph(page, DOCS / "demo.png", width, (len(lines) + 1) * LINE_PX + MARGINS_PX)
        _photograph(demo / "report.html", DOCS / "report.png", 1000, 1500)
        _run("show", str(demo / "data"), *SHEET, "--out", str(DOCS / "gestures.png"), "--force")


def _run(*arguments: str) -> str:
    """Run sltune on a terminal of 80 columns; return what it says, but for the progress of trials."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "sltune", *arguments]
    done = subprocess.run(
        command, check=True, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    shown = [line for line in done.stdout.splitlines() if not line.startswith("c0") and "events, imported" not in line]
    # As a terminal breaks them.
    return "\n".join(line[at : at + COLUMNS] for line in shown for at in range(0, max(len(line), 1), COLUMNS))


def _photograph(page: Path, picture: Path, width: int, height: int) -> None:
    options = ("--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}")
    subprocess.run(["chromium", *options, f"--screenshot={picture}", page.as_uri()], check=True, capture_output=True)


if __name__ == "__main__":
    main()
