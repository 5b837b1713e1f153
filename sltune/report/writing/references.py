"""References as BibTeX: those of methods that sentences name, and the sources of published figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sltune import __version__
from sltune.report.analysis.published import Published
from sltune.report.tables.text import as_latex

CITATION = re.compile(r"\[@([a-z0-9-]+)\]")
"""How a text names a reference, as Pandoc has it."""
RELEASED = "2026"
"""The year of this version."""
MAX_KEY = 60
"""Characters of a key; sources that differ only after so many would share it."""


@dataclass(frozen=True)
class Reference:
    """An entry of a bibliography."""

    kind: str
    fields: Mapping[str, str]

    def bibtex(self, key: str) -> str:
        # The second pair of braces keeps capitals, and "et al." from being taken for a first name.
        lines = [f"  {name} = {{{{{value}}}}}" if name == "title" else f"  {name} = {{{value}}}"
                 for name, value in self.fields.items()]  # fmt: skip
        return f"@{self.kind}{{{key},\n" + ",\n".join(lines) + "\n}\n"


def _article(author: str, title: str, journal: str, year: str, volume: str, pages: str) -> Reference:
    fields = {"author": author, "title": title, "journal": journal, "year": year, "volume": volume, "pages": pages}
    return Reference("article", {name: value for name, value in fields.items() if value})


REFERENCES = {
    "nadeau-2003": _article(
        "Nadeau, Claude and Bengio, Yoshua", "Inference for the Generalization Error", "Machine Learning", "2003", "52",
        "239--281",
    ),
    "cameron-2011": _article(
        "Cameron, A. Colin and Gelbach, Jonah B. and Miller, Douglas L.",
        "Robust Inference With Multiway Clustering", "Journal of Business \\& Economic Statistics", "2011", "29",
        "238--249",
    ),
    "corani-2015": _article(
        "Corani, Giorgio and Benavoli, Alessio",
        "A {Bayesian} approach for comparing cross-validated algorithms on multiple data sets", "Machine Learning",
        "2015", "100", "285--304",
    ),
    "holm-1979": _article(
        "Holm, Sture", "A Simple Sequentially Rejective Multiple Test Procedure", "Scandinavian Journal of Statistics",
        "1979", "6", "65--70",
    ),
    "wu-2018": _article(
        "Wu, Yujie and Deng, Lei and Li, Guoqi and Zhu, Jun and Shi, Luping",
        "Spatio-Temporal Backpropagation for Training High-Performance Spiking Neural Networks",
        "Frontiers in Neuroscience", "2018", "12", "331",
    ),
    "akiba-2019": Reference(
        "inproceedings",
        {
            "author": "Akiba, Takuya and Sano, Shotaro and Yanase, Toshihiko and Ohta, Takeru and Koyama, Masanori",
            "title": "Optuna: A Next-generation Hyperparameter Optimization Framework",
            "booktitle": "Proceedings of the 25th ACM SIGKDD Conference on Knowledge Discovery and Data Mining",
            "year": "2019",
        },
    ),
}  # fmt: skip
"""The methods that sentences name."""


def entries_for_citing() -> str:
    """Return sltune itself and the methods that it uses, as BibTeX."""
    title = "sltune: cross-validated training and search for spiking networks on event-camera data"
    own = {"author": "{The sltune authors}", "title": title, "year": RELEASED, "note": f"Version {__version__}"}
    return "\n".join(one.bibtex(key) for key, one in {"sltune": Reference("misc", own), **REFERENCES}.items())


def key_of(figure: Published) -> str:
    """Return the key of the source of a published figure; "" where it has none."""
    return re.sub(r"[^a-z0-9]+", "-", figure.source.lower()).strip("-")[:MAX_KEY].rstrip("-")


def bibliography(texts: Iterable[str], figures: Iterable[Published]) -> str:
    """Return the file of all references that some texts cite: those of methods, and of published figures."""
    found = {key_of(figure): _source(figure) for figure in figures if figure.source}
    cited = dict.fromkeys(key for text in texts for key in CITATION.findall(text))
    known = {**found, **REFERENCES}
    return "\n".join(known[key].bibtex(key) for key in cited if key in known)


def _source(figure: Published) -> Reference:
    """Return a source as far as it is known: its own words hold author and year; by the key, styles sort it."""
    words = as_latex(figure.source)
    return Reference("misc", {"key": words, "title": words, **({"doi": figure.doi} if figure.doi else {})})
