"""The page as a browser sees it: complete in one file, accessible, and with tables that sort."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sltune.api.worst_samples import _dataset_of, worst_of
from sltune.events.dataset import open_dataset
from sltune.events.manifest import read_manifest
from sltune.report.all_plots import plots
from sltune.report.analysis.runs import load_runs
from sltune.report.analysis.series import series_of
from sltune.report.analysis.summary import table
from sltune.report.page import page
from sltune.report.trial_pages import trial_pages
from sltune.report.writing.answers import answers
from sltune.training.predictions import predictions_to_bytes
from tests.report.writing.lab import write_lab
from tests.written_runs import make_record, write_run

Spec = dict[str, Any]
Record = Callable[..., Spec]
WriteRun = Callable[..., Path]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
PLANNED = [f"c0000-f{fold}-s0" for fold in range(4)]
# Elements that have no end tag.
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """What a page consists of; fails where elements are not nested properly."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def html_of(*folders: Path, **options: Any) -> str:
    runs = load_runs(folders)
    return page(runs, table(runs, **options), plots(runs))


@pytest.fixture
def search(record: Record, run_folder: WriteRun) -> Path:
    """A search under way: a best configuration, a pruned one, one that failed and one that runs."""
    config = {
        "evaluation": {"protocol": "train-val-test", "sessions": ["S1"]},
        "neuron": {"decay": 0.25},
    }
    confusion = [[4, 1], [0, 5]]
    facts: Spec = {"config": config, "confusion": confusion, "dataset": {"classes": ["left", "<right>"]}}
    records = [
        *(record(fold, 0.5 + 0.1 * fold, synaptic_ops=1e6, **facts) for fold in range(2)),
        record(0, 0.25, config_id="c0001", **facts),
        record(1, config_id="c0001", status="pruned", error="median over folds", **facts),
        record(0, config_id="c0002", status="failed", error="Traceback\n<b>no memory</b>", **facts),
        record(1, config_id="c0002", status="diverged", error="the loss of batch 3 is nan", **facts),
    ]
    folder = run_folder(records, name="search & co", kind="tune", best="c0000", steps=[[0, 0], [0, 1]])
    (folder / "trials" / "c0003-f0-s0").mkdir()
    (folder / "trials" / "c0003-f0-s0" / "epochs.csv").write_text("epoch,val_accuracy,val_loss\n1,0.5,0.1\n")
    (folder / "space.toml").write_text("[neuron]\ndecay = { low = 0.1, high = 0.9 }\n")
    return folder


def test_it_is_one_file_that_loads_nothing(search: Path) -> None:
    html = html_of(search)
    found = Page(html)
    addresses = [a[name] for _, a in found.elements for name in ("src", "href") if name in a]
    assert addresses
    assert all(address.startswith(("#", "data:image/svg+xml;base64,")) for address in addresses)
    assert "url(" not in html
    assert "@import" not in html


def test_headings_follow_each_other_and_pictures_have_words(search: Path) -> None:
    found = Page(html_of(search))
    levels = [int(tag[1]) for tag, _ in found.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert found.all("html") == [{"lang": "en"}]
    assert found.all("img")
    assert all(len(image["alt"]) > 20 for image in found.all("img"))
    assert {header["scope"] for header in found.all("th")} == {"col"}
    targets = {attributes["id"] for _, attributes in found.elements if "id" in attributes}
    assert {link["href"].removeprefix("#") for link in found.all("a")} <= targets


def test_every_kind_of_trial_is_told_and_none_of_it_is_taken_for_html(search: Path) -> None:
    html = html_of(search)
    words = Page(html).words
    assert "55.00 ± 7.07 %" in words
    assert "test accuracy over 2 of 2 trials" in words
    assert "2 done" not in words
    assert "1 diverged, 3 done, 1 failed, 1 missing, 1 pruned, 1 unfinished" in words
    assert "c0000 best 55.00 0.25 7.07 2 of 2 1.00 1 " in words
    assert "c0001 pruned 25.00 0.25 – 1 of 2" in words
    assert "c0002 failed – 0.25 – 0 of 2" in words
    assert "c0002-f0-s0 failed: <b>no memory</b>" in words
    assert "<b>no memory" not in html
    assert "sltune tune " in words


def test_a_run_without_any_result_says_so(run_folder: WriteRun) -> None:
    found = Page(html_of(run_folder([], planned=PLANNED)))
    assert "No trial has a result." in found.words
    assert "4 missing" in found.words
    assert not found.all("img")


def test_synthetic_and_incomplete_results_are_marked_at_the_top(record: Record, run_folder: WriteRun) -> None:
    folder = run_folder([record(0, 0.5, dataset={"synthetic": True})], planned=PLANNED)
    words = Page(html_of(folder)).words
    results = words.index("test accuracy over 1 of 4 trials")
    assert words.index("SYNTHETIC data") < results
    assert words.index("Incomplete: paper/c0000: 1 of 4 trials; folds 1, 2, 3 missing") < results


def test_of_a_search_the_best_stands_large_also_among_all_of_its_configurations(
    record: Record, run_folder: WriteRun
) -> None:
    records = [record(0, value, config_id=f"c000{number}") for number, value in enumerate((0.9, 0.5, 0.7))]
    found = Page(html_of(run_folder(records, kind="tune", best="c0001"), every=True))
    assert sum(attributes.get("class") == "result" for attributes in found.all("div")) == 1
    assert "paper/c0001 50.00 %" in found.words


def browse(*flags: str, file: Path) -> str:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", *flags]
    done = subprocess.run([*command, file.as_uri()], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout


needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")


def column(html: str, table_label: str, number: int) -> list[str]:
    _, _, rest = html.partition(f'<table class="sortable" aria-label="{table_label}">')
    body = rest.partition("<tbody>")[2].partition("</table>")[0]
    rows = re.findall(r"<tr>(.*?)</tr>", body, re.DOTALL)
    return [re.findall(r"<td.*?>(.*?)</td>", row, re.DOTALL)[number] for row in rows]


@pytest.mark.processes
@needs_chromium
def test_a_click_on_a_header_sorts_numbers_as_numbers_and_another_turns_the_order(
    record: Record, run_folder: WriteRun, tmp_path: Path
) -> None:
    label = "Mean ± standard deviation over folds and seeds"
    runs = [
        run_folder([record(fold, value + fold / 100) for fold in range(2)], name=name)
        for name, value in (("a", 0.09), ("b", 0.8), ("c", 0.1))
    ]

    def clicked(times: int, header: str) -> Sequence[str]:
        script = (
            f"const table = document.querySelector('table[aria-label=\"{label}\"]');"
            f"const found = [...table.querySelectorAll('th button')].find((b) => b.textContent === '{header}');"
            f"for (let i = 0; i < {times}; i++) found.click();"
        )
        file = tmp_path / "page.html"
        file.write_text(html_of(*runs, published=False).replace("</body>", f"<script>{script}</script></body>"))
        return column(browse("--dump-dom", file=file), label, 2)

    assert clicked(0, "mean")[:2] == ["9.50", "9.50"]
    assert clicked(1, "mean") == ["80.50", "80.50", "10.50", "10.50", "9.50", "9.50", "5.26"]
    assert clicked(2, "mean") == ["5.26", "9.50", "9.50", "10.50", "10.50", "80.50", "80.50"]


@pytest.mark.processes
@needs_chromium
def test_names_that_begin_with_digits_are_sorted_as_names(record: Record, run_folder: WriteRun, tmp_path: Path) -> None:
    label = "Values per fold"
    names = ["2024-03-01-a", "2024-01-05-b", "2023-12-31"]
    runs = [run_folder([record(0, 0.5)], name=name) for name in names]
    script = f"document.querySelector('table[aria-label=\"{label}\"] th button').click();"
    file = tmp_path / "page.html"
    file.write_text(html_of(*runs, published=False).replace("</body>", f"<script>{script * 2}</script></body>"))
    found = [name.removesuffix("/c0000") for name in column(browse("--dump-dom", file=file), label, 0)[::2]]
    assert found == sorted(names)


def test_many_configurations_without_a_best_leave_the_top_of_the_page_readable(
    record: Record, run_folder: WriteRun
) -> None:
    records = [record(0, 0.5, config_id=f"c{number:04d}") for number in range(50)]
    planned = [f"c{number:04d}-f{fold}-s0" for number in range(50) for fold in range(2)]
    found = Page(html_of(run_folder(records, planned=planned)))
    assert "… and 48 more, see the tables" in found.words
    assert sum(attributes.get("class") == "warning" for attributes in found.all("p")) == 3
    assert sum(attributes.get("class") == "result" for attributes in found.all("div")) == 8


@pytest.mark.processes
@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_but_tables_and_code_is_wider_than_the_window(search: Path, tmp_path: Path, width: int) -> None:
    script = "document.title = document.documentElement.scrollWidth + ' of ' + document.documentElement.clientWidth;"
    file = tmp_path / "page.html"
    # Chromium's own window is never narrower than 500 pixels, a frame in it may be.
    inner = tmp_path / "inner.html"
    inner.write_text(html_of(search).replace("</body>", f"<script>{script}</script></body>"))
    tell = "document.title = document.querySelector('iframe').contentDocument.title"
    frame = f'<iframe src="inner.html" style="width: {width}px; height: 900px; border: 0" onload="{tell}"></iframe>'
    file.write_text(f"<!doctype html><body style='margin: 0'>{frame}")
    html = browse("--dump-dom", "--allow-file-access-from-files", "--window-size=1400,1000", file=file)
    found = re.search(r"<title>(\d+) of (\d+)</title>", html)
    assert found is not None
    assert int(found[1]) <= int(found[2]) <= width


def test_the_answers_come_first_and_are_those_of_the_terminal(tmp_path: Path) -> None:
    runs = [write_lab(tmp_path, name, skill, seed=int(10 * skill)) for name, skill in (("crops", 0.8), ("paper", 0.6))]
    words = Page(html_of(*runs)).words
    found = load_runs(runs)
    made = table(found)
    said = answers(made.sections[0], series_of(found), found, made.ddof)
    assert len(said) == 9
    places = [words.index(f"{one.question} {one.number} {one.rest}".replace("  ", " ")) for one in said]
    assert places == sorted(places)
    assert places[-1] < words.index("Results Plots"), "before the contents, and so on the first screen"
    assert words.index("crops/c0000 reached") < words.index("± ddof 1")


def test_a_trial_shows_its_curves_its_confusions_and_its_worst_samples(dataset: Path, tmp_path: Path) -> None:
    manifest = read_manifest(dataset)
    (first, second), name = (
        manifest.classes,
        manifest.files[0].file.removeprefix("recordings/").removesuffix(".parquet"),
    )
    facts = {"name": manifest.name, "synthetic": True, "fingerprint": manifest.fingerprint, "classes": [first, second]}
    one = make_record(0, 0.5, dataset=facts, confusion=[[1, 1], [0, 2]])
    run = write_run(tmp_path / "run", [one], dataset={**one["dataset"], "path": str(dataset)})
    folder = run / "trials" / "c0000-f0-s0"
    (folder / "epochs.csv").write_text("epoch,train_loss,val_loss,val_accuracy\n1,1.0,0.9,0.25\n2,0.8,0.7,0.5\n")
    rates = np.array([[0.25, 0.5], [0.9, 0.1], [0.0, 1.0]], dtype=np.float32)
    samples = open_dataset(dataset).samples.sample_id[:3]
    content = predictions_to_bytes([name] * 3, samples, np.array([0, 0, 0]), rates)
    (folder / "predictions.parquet").write_bytes(content)
    runs = load_runs([run])
    (trial,) = trial_pages(runs, worst_of)
    assert [(sample.sample_id, sample.true, sample.taken_for, sample.rates) for sample in trial.worst] == [
        (samples[2], first, second, (0.0, 1.0)),
        (samples[0], first, second, (0.25, 0.5)),
    ]
    assert all(sample.picture is not None and sample.picture.startswith(b"\x89PNG") for sample in trial.worst)
    found = Page(page(runs, table(runs), [], [trial]))
    assert [plot.title for plot in trial.plots] == ["Learning curves", "Confusion matrix in per cent"]
    assert "run/c0000-f0-s0: test 50.00 %, validation 50.00 %" in found.words
    assert f"{samples[0]}: rate 0.250 of {first}, 0.500 of {second}" in found.words
    assert len(found.all("img")) == 4
    assert all(image["alt"] for image in found.all("img"))
    # On another machine the dataset is elsewhere.
    shutil.rmtree(dataset)
    _dataset_of.cache_clear()
    (trial,) = trial_pages(runs, worst_of)
    assert [sample.picture for sample in trial.worst] == [None, None]


@pytest.mark.processes
@needs_chromium
def test_rows_are_filtered_by_words(record: Record, run_folder: WriteRun, tmp_path: Path) -> None:
    label = "Mean ± standard deviation over folds and seeds"
    runs = [run_folder([record(0, 0.5)], name=f"run-{number}") for number in range(5)]
    script = (
        f"const field = document.querySelector('input[aria-label=\"Filter rows of: {label}\"]');"
        "field.value = 'RUN-3 val'; field.dispatchEvent(new Event('input'));"
        f"const body = document.querySelector('table[aria-label=\"{label}\"]').tBodies[0];"
        "document.title = [...body.rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent).join();"
    )
    file = tmp_path / "page.html"
    file.write_text(html_of(*runs, published=False).replace("</body>", f"<script>{script}</script></body>"))
    assert "<title>run-3/c0000</title>" in browse("--dump-dom", file=file)


@pytest.mark.slow
@pytest.mark.processes
@needs_chromium
@pytest.mark.parametrize("width", [1280, 390])
def test_axe_finds_nothing_that_keeps_people_from_reading(width: int, search: Path, tmp_path: Path) -> None:
    """Contrast, alternative texts, labels, order of headings and more, by the rules of axe-core (WCAG 2.1 A and AA)."""
    if shutil.which("npm") is None:
        pytest.skip("no npm here, which installs axe-core")
    install = ["npm", "install", "--silent", "--no-save", "--prefix", str(tmp_path), "axe-core@4.14.1"]
    if subprocess.run(install, capture_output=True, check=False, timeout=300).returncode:
        pytest.skip("axe-core cannot be installed here")
    script = (tmp_path / "node_modules" / "axe-core" / "axe.min.js").read_text()
    run = (
        "document.querySelectorAll('details').forEach((part) => { part.open = true; });"
        "axe.run(document).then((found) => { document.title = 'axe:' + JSON.stringify(found.violations.map((one) =>"
        " [one.id, one.nodes.map((node) => node.target.join(' ')).slice(0, 3)])); });"
    )
    runs = [search, write_lab(tmp_path, "crops", 0.8), write_lab(tmp_path, "paper", 0.6, seed=1)]
    file = tmp_path / "page.html"
    file.write_text(html_of(*runs).replace("</body>", f"<script>{script}</script><script>{run}</script></body>"))
    html = browse("--dump-dom", f"--window-size={max(width, 500)},900", file=file)
    found = re.search(r"<title>axe:(.*?)</title>", html)
    assert found is not None
    assert found[1] == "[]"
