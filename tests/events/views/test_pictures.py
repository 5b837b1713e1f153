"""Pictures read back: which pixel an event lights, in which colour, and when."""

from __future__ import annotations

import tracemalloc
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sltune.errors import UsageError
from sltune.events.dataset import Dataset, open_dataset
from sltune.events.importing import import_source
from sltune.events.orientation import ORIENTATIONS, Orientation, upright, upright_size
from sltune.events.source import Source, SourceFile
from sltune.events.store import Sample
from sltune.events.synthetic.recordings import simulate_recording
from sltune.events.views import pictures
from sltune.events.views.canvas import PALETTE, SHADES, Canvas, full_count, ink
from sltune.events.views.gif import write_gif
from sltune.events.views.pictures import (
    Span,
    contact_sheet,
    draw_sample,
    draw_sheet,
    find_sample,
)

HEIGHT, WIDTH = 20, 30
CLASSES = ("cat", "dog")
ORANGE, BLUE = (213, 94, 0), (0, 114, 178)
Event = tuple[int, int, int, int]
"""row, column, polarity as stored, time in µs."""


def sample(events: Sequence[Event], name: str = "user00_a_01", label: int = 0) -> Sample:
    row, column, polarity, time_us = np.array(events).T
    return Sample(
        sample_id=name,
        recording=name[:-3],
        subject="user00",
        session="S1",
        label=label,
        gesture=CLASSES[label],
        start_us=0,
        address=((row * WIDTH + column) * 2 + polarity).astype(np.uint16),
        time_us=time_us.astype(np.uint32),
    )


def dataset_of(
    root: Path,
    *samples: Sample,
    name: str = "N-MNIST",
    synthetic: bool = False,
    orientation: Orientation = "upright",
) -> Dataset:
    of_recording = dict[str, list[Sample]]()
    for one in samples:
        of_recording.setdefault(one.recording, []).append(one)

    def file(recording: str) -> SourceFile:
        return SourceFile(recording, lambda: recording, lambda: (of_recording[recording], []))

    source = Source(name, synthetic, (HEIGHT, WIDTH), CLASSES, tuple(map(file, of_recording)))
    import_source(replace(source, orientation=orientation), root)
    return open_dataset(root)


def pixels(file: Path, frame: int = 0) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        image.seek(frame)
        return np.asarray(image.convert("RGB"))


def lit(picture: NDArray[np.uint8], canvas: Canvas, scale: int, cell: int = 0) -> dict[tuple[int, int], Sequence[int]]:
    """Return colour by (line, pixel) of all that is not white in a cell of a picture, reading one in scale²."""
    x, y = canvas.origin(cell)
    frame = picture[y : y + HEIGHT * scale, x : x + WIDTH * scale]
    small = frame[::scale, ::scale]
    assert (np.kron(small, np.ones((scale, scale, 1), np.uint8)) == frame).all()
    return {
        (line, pixel): tuple(small[line, pixel]) for line, pixel in np.argwhere((small != 255).any(axis=2)).tolist()
    }


@pytest.mark.parametrize(
    ("name", "orientation", "polarity", "place", "colour"),
    [
        # Rows count from the top and columns from the left; polarity 1 is ON.
        ("N-MNIST", "upright", 1, (2, 5), ORANGE),
        ("N-MNIST", "upright", 0, (2, 5), BLUE),
        # jAER: rows from the bottom, columns from the right; polarity 0 is ON.
        ("SL-Animals-DVS", "upside-down", 0, (HEIGHT - 1 - 2, WIDTH - 1 - 5), ORANGE),
        ("SL-Animals-DVS", "upside-down", 1, (HEIGHT - 1 - 2, WIDTH - 1 - 5), BLUE),
    ],
)
def test_an_event_lights_its_pixel_of_the_upright_picture_in_its_colour(
    tmp_path: Path,
    name: str,
    orientation: Orientation,
    polarity: int,
    place: tuple[int, int],
    colour: tuple[int, int, int],
) -> None:
    dataset = dataset_of(tmp_path / "data", sample([(2, 5, polarity, 0)]), name=name, orientation=orientation)
    draw_sample(dataset, "user00_a_01", Span(), 3, tmp_path / "a.png")
    title = "user00_a_01: cat, 0.00 s"
    assert lit(pixels(tmp_path / "a.png"), Canvas((HEIGHT, WIDTH), 1, 1, title, 3), 3) == {place: colour}


# Of an event in row 2 and column 5, as it is stored: line and pixel of the upright picture.
UPRIGHT: dict[Orientation, tuple[int, int]] = {
    "upright": (2, 5),
    "upside-down": (HEIGHT - 1 - 2, WIDTH - 1 - 5),
    "mirrored": (2, WIDTH - 1 - 5),
    "flipped": (HEIGHT - 1 - 2, 5),
    "rotated-90": (WIDTH - 1 - 5, 2),
    "rotated-270": (5, HEIGHT - 1 - 2),
    "transposed": (5, 2),
    "anti-transposed": (WIDTH - 1 - 5, HEIGHT - 1 - 2),
}
TURNED = {
    "upside-down": Image.Transpose.ROTATE_180,
    "mirrored": Image.Transpose.FLIP_LEFT_RIGHT,
    "flipped": Image.Transpose.FLIP_TOP_BOTTOM,
    # Pillow turns against the clock.
    "rotated-90": Image.Transpose.ROTATE_270,
    "rotated-270": Image.Transpose.ROTATE_90,
    "transposed": Image.Transpose.TRANSPOSE,
    "anti-transposed": Image.Transpose.TRANSVERSE,
}
"""What Pillow calls the turn of an upright picture after which it is as it is stored."""


def test_every_orientation_is_undone() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert (upright(picture, "upright") == picture).all()
    assert set(ORIENTATIONS) == {"upright", *TURNED}
    for orientation, turn in TURNED.items():
        stored = np.asarray(Image.fromarray(picture).transpose(turn))
        assert (upright(stored, orientation) == picture).all()  # type: ignore[arg-type]
        assert upright_size(stored.shape, orientation) == picture.shape  # type: ignore[arg-type]


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_pictures_are_upright_whatever_the_orientation(tmp_path: Path, orientation: Orientation) -> None:
    dataset = dataset_of(tmp_path / "data", sample([(2, 5, 1, 0)]), orientation=orientation)
    line, pixel = UPRIGHT[orientation]
    size = (HEIGHT, WIDTH) if UPRIGHT[orientation] in list(UPRIGHT.values())[:4] else (WIDTH, HEIGHT)
    canvas = Canvas(size, 1, 1, "user00_a_01: cat, 0.00 s", 1)
    draw_sample(dataset, "user00_a_01", Span(), 1, tmp_path / "a.png")
    draw_sheet(dataset, Span(), 1, tmp_path / "sheet.png")
    draw_sample(dataset, "user00_a_01", Span(), 1, tmp_path / "a.gif")
    for file in ("a.png", "a.gif"):
        x, y = canvas.origin(0)
        frame = pixels(tmp_path / file)[y : y + size[0], x : x + size[1]]
        assert np.argwhere((frame != 255).any(axis=2)).tolist() == [[line, pixel]]
        assert tuple(frame[line, pixel]) == ORANGE
    assert (pixels(tmp_path / "sheet.png") == ORANGE).all(axis=2).sum() > 1


def test_a_synthetic_signer_is_upright_and_leads_with_the_hand_on_the_left(tmp_path: Path) -> None:
    """Of goat, made at the face, all events of the leading hand lie in the picture's upper left quarter or near it."""
    recording = simulate_recording("user35_dc", 0)
    first, last = recording.tags[5, 1:]
    middle = slice((first + last) // 2, (first + last) // 2 + 1000)
    address = recording.address[middle].astype(np.int64)
    line, pixel = 127 - (address >> 8), 127 - (address >> 1 & 127)
    assert np.median(line) < 64
    assert np.median(pixel) < 64
    one = Sample(
        "user35_dc_06", "user35_dc", "user35", "S2", 0, "cat", 0, recording.address[middle],
        np.arange(1000, dtype=np.uint32) * 10,
    )  # fmt: skip
    files = (SourceFile("f", lambda: "f", lambda: ([one], [])),)
    source = Source("SL-Animals-DVS", True, (128, 128), CLASSES, files, orientation="upside-down")
    import_source(source, tmp_path / "data")
    draw_sample(open_dataset(tmp_path / "data"), "user35_dc_06", Span(), 1, tmp_path / "a.png")
    x, y = Canvas((128, 128), 1, 1, "user35_dc_06: cat, 0.01 s, synthetic", 1).origin(0)
    frame = pixels(tmp_path / "a.png")[y : y + 128, x : x + 128]
    drawn = np.zeros((128, 128), bool)
    drawn[line, pixel] = True
    assert ((frame != 255).any(axis=2) == drawn).all()


def test_counts_deepen_a_colour_and_both_polarities_darken_it() -> None:
    on, off = np.array([[0, 1, 2, 4, 9, 0, 4]]), np.array([[0, 0, 0, 0, 0, 4, 4]])
    shades = np.divmod(ink(on.astype(np.int32), off.astype(np.int32), 4), SHADES + 1)
    assert shades[0].tolist() == [[0, 2, 4, 8, 8, 0, 8]]
    assert shades[1].tolist() == [[0, 0, 0, 0, 0, 8, 8]]


def test_a_few_hot_pixels_do_not_pale_all_others() -> None:
    count = np.ones((2, 20, 20), np.int32)
    count[0, 0, :3] = 1000
    assert full_count([count]) == 1
    assert full_count([np.zeros((2, 4, 4), np.int32)]) == 1


def three_events(tmp_path: Path) -> Dataset:
    """One event in each third of 600 ms, in columns 1, 2 and 3 of row 0, and one at the very end."""
    events = [(0, 0, 1, 0), (0, 1, 1, 100_000), (0, 2, 1, 300_000), (0, 3, 1, 500_000), (9, 9, 1, 599_000)]
    return dataset_of(tmp_path / "data", sample(events))


def test_a_png_has_three_frames_spread_over_the_sample(tmp_path: Path) -> None:
    # 600 ms in three parts, of which the middle 20 ms begin at 90, 290 and 490.
    events = [(0, 0, 1, 0), (0, 1, 1, 90_000), (0, 2, 1, 290_000), (0, 3, 1, 509_999), (9, 9, 1, 599_000)]
    dataset = dataset_of(tmp_path / "data", sample(events))
    draw_sample(dataset, "user00_a_01", Span(bin_ms=20), 2, tmp_path / "a.png")
    canvas = Canvas((HEIGHT, WIDTH), 3, 3, "user00_a_01: cat, 0.60 s", 2)
    picture = pixels(tmp_path / "a.png")
    assert [lit(picture, canvas, 2, cell) for cell in range(3)] == [{(0, column): ORANGE} for column in (1, 2, 3)]


@pytest.mark.parametrize(("start_ms", "seen"), [(280, {}), (281, {(0, 2): ORANGE}), (300, {(0, 2): ORANGE}), (301, {})])
def test_a_window_holds_the_milliseconds_that_it_names(
    tmp_path: Path, start_ms: int, seen: dict[tuple[int, int], Sequence[int]]
) -> None:
    span = Span(bin_ms=20, start_ms=start_ms, length_ms=20)
    draw_sample(three_events(tmp_path), "user00_a_01", span, 1, tmp_path / "a.png")
    canvas = Canvas((HEIGHT, WIDTH), 1, 1, "user00_a_01: cat, 0.60 s", 1)
    assert lit(pixels(tmp_path / "a.png"), canvas, 1) == seen


def gif(file: Path) -> tuple[list[int], int]:
    """Return how many ms each frame lasts, and how often the animation is repeated, 0 for ever."""
    with Image.open(file) as image:
        durations = []
        for frame in range(image.n_frames):
            image.seek(frame)
            durations.append(int(image.info["duration"]))
        return durations, image.info["loop"]


def test_a_gif_runs_in_real_time_through_the_whole_sample(tmp_path: Path) -> None:
    dataset = three_events(tmp_path)
    draw_sample(dataset, "user00_a_01", Span(bin_ms=50), 2, tmp_path / "a.gif")
    assert gif(tmp_path / "a.gif") == ([50] * 12, 0)
    canvas = Canvas((HEIGHT, WIDTH), 1, 1, "user00_a_01: cat, 0.60 s", 2)
    frames = [lit(pixels(tmp_path / "a.gif", frame), canvas, 2) for frame in range(12)]
    expected = {0: (0, 0), 2: (0, 1), 6: (0, 2), 10: (0, 3), 11: (9, 9)}
    assert frames == [{expected[frame]: ORANGE} if frame in expected else {} for frame in range(12)]


def test_a_gif_of_frames_that_are_no_hundredths_keeps_real_time_on_average(tmp_path: Path) -> None:
    draw_sample(three_events(tmp_path), "user00_a_01", Span(bin_ms=25, length_ms=100), 1, tmp_path / "a.gif")
    durations, _ = gif(tmp_path / "a.gif")
    assert len(durations) == 4
    assert set(durations) == {20, 30}
    assert sum(durations) == 100


def test_a_gif_window_starts_and_ends_where_asked(tmp_path: Path) -> None:
    draw_sample(three_events(tmp_path), "user00_a_01", Span(30, 290, 70), 1, tmp_path / "a.gif")
    assert gif(tmp_path / "a.gif")[0] == [30, 30]
    canvas = Canvas((HEIGHT, WIDTH), 1, 1, "user00_a_01: cat, 0.60 s", 1)
    assert lit(pixels(tmp_path / "a.gif"), canvas, 1) == {(0, 2): ORANGE}


def test_frames_faster_than_a_gif_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"frames of 10 ms in real time, 20 ms are the least"):
        draw_sample(three_events(tmp_path), "user00_a_01", Span(bin_ms=10), 1, tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()


def one_wrong_time(tmp_path: Path) -> Dataset:
    """An event in the first millisecond, and one 71 minutes later."""
    return dataset_of(tmp_path / "data", sample([(0, 0, 1, 0), (0, 1, 1, 2**32 - 1)]))


def test_an_animation_of_one_wrong_timestamp_is_refused_with_the_way_to_a_part_of_it(tmp_path: Path) -> None:
    dataset = one_wrong_time(tmp_path)
    with pytest.raises(UsageError) as caught:
        draw_sample(dataset, "user00_a_01", Span(), 1, tmp_path / "a.gif")
    assert str(caught.value) == (
        "user00_a_01 from 0 to 4294968 ms has 143165 frames of 30 ms, and an animation 5000 at most; show a part of it "
        "with --start-ms and --length-ms 150000 or less, or longer frames with --bin-ms"
    )
    assert not (tmp_path / "a.gif").exists()
    draw_sample(dataset, "user00_a_01", Span(30, 4_294_900), 1, tmp_path / "a.gif")
    assert gif(tmp_path / "a.gif")[0] == [30, 30]


def test_pictures_of_one_wrong_timestamp_take_little_memory(tmp_path: Path) -> None:
    dataset = one_wrong_time(tmp_path)
    tracemalloc.start()
    try:
        draw_sample(dataset, "user00_a_01", Span(), 1, tmp_path / "a.png")
        draw_sheet(dataset, Span(), 1, tmp_path / "b.png")
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_no_more_than_a_few_frames_of_an_animation_are_there_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: dict[str, list[weakref.ref[object]]] = {"image": [], "counts": []}
    alive = {"image": 0, "counts": 0}

    def watch(owner: type, name: str) -> None:
        plain = getattr(owner, name)

        def watched(*arguments: object) -> object:
            result = plain(*arguments)
            made[name].append(weakref.ref(result))
            alive[name] = max(alive[name], sum(one() is not None for one in made[name]))
            return result

        monkeypatch.setattr(owner, name, watched)

    watch(Canvas, "image")
    watch(pictures._Counter, "counts")
    draw_sample(three_events(tmp_path), "user00_a_01", Span(bin_ms=20), 1, tmp_path / "a.gif")
    assert len(gif(tmp_path / "a.gif")[0]) == 30
    assert 1 <= alive["image"] <= 3
    assert 1 <= alive["counts"] <= 3


@given(
    frames=st.lists(st.lists(st.integers(0, 60), min_size=4, max_size=4), max_size=12),
    hot=st.lists(st.integers(0, 2**31 - 1), max_size=3),
)
def test_full_colour_begins_at_the_98th_percentile_of_all_pixels_with_events(
    frames: list[list[int]], hot: list[int]
) -> None:
    counts = [np.array(frame, np.int32) for frame in [*frames, hot]]
    busy = np.concatenate([frame[frame > 0] for frame in counts])
    expected = np.percentile(busy, 98) if len(busy) else 1
    # Whole but for rounding, it may be cut to the whole number below.
    assert expected * (1 + 1e-9) >= full_count(iter(counts)) > expected * (1 - 1e-9) - 1


def test_a_frame_like_the_one_before_and_one_that_changes_in_a_corner_are_shown_as_they_are(tmp_path: Path) -> None:
    def image(*lit: tuple[int, int]) -> Image.Image:
        picture = Image.new("P", (9, 7))
        picture.putpalette(PALETTE)
        for place in lit:
            picture.putpixel(place, 80)
        return picture

    images = [image((4, 3)), image((4, 3)), image((4, 3), (8, 6)), image()]
    with (tmp_path / "a.gif").open("wb") as file:
        write_gif(file, zip(images, (20, 655_350, 30, 40), strict=True))
    assert gif(tmp_path / "a.gif") == ([20, 655_350, 30, 40], 0)
    for frame, expected in enumerate(images):
        assert (pixels(tmp_path / "a.gif", frame) == np.asarray(expected.convert("RGB"))).all()


def test_a_span_after_the_end_is_refused_with_the_length(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="user00_a_01 lasts 600 ms; --start-ms must be less, but is 600"):
        draw_sample(three_events(tmp_path), "user00_a_01", Span(start_ms=600), 1, tmp_path / "a.png")


def two_recordings(tmp_path: Path) -> Dataset:
    """Of recording a both classes, cat first twice; of recording b only dog."""
    return dataset_of(
        tmp_path / "data",
        sample([(1, 1, 1, 0)], "user00_a_01", 0),
        sample([(2, 2, 1, 0)], "user00_a_02", 0),
        sample([(3, 3, 0, 0)], "user00_a_03", 1),
        sample([(4, 4, 0, 0)], "user01_b_01", 1),
        synthetic=True,
    )


def test_a_sheet_shows_the_first_sample_of_every_class_under_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    plain = Canvas.image
    monkeypatch.setattr(Canvas, "image", lambda self, cells: drawn.extend(cells) or plain(self, cells))
    draw_sheet(two_recordings(tmp_path), Span(), 2, tmp_path / "a.png")
    assert [cell.label for cell in drawn] == ["cat", "dog"]
    canvas = Canvas((HEIGHT, WIDTH), 2, 2, "N-MNIST (synthetic), user00_a: the middle 30 ms of each sample", 2)
    picture = pixels(tmp_path / "a.png")
    assert picture.shape[1::-1] == canvas.size
    assert [lit(picture, canvas, 2, cell) for cell in range(2)] == [{(1, 1): ORANGE}, {(3, 3): BLUE}]


def test_a_sheet_of_a_recording_leaves_the_cell_of_a_missing_class_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    plain = Canvas.image
    monkeypatch.setattr(Canvas, "image", lambda self, cells: drawn.extend(cells) or plain(self, cells))
    image = contact_sheet(two_recordings(tmp_path), Span(), 2, "user01_b")
    assert [(cell.label, cell.inks is None) for cell in drawn] == [("cat: no sample", True), ("dog", False)]
    canvas = Canvas((HEIGHT, WIDTH), 2, 2, "N-MNIST (synthetic), user01_b: the middle 30 ms of each sample", 2)
    picture = np.asarray(image.convert("RGB"))
    assert lit(picture, canvas, 2, 1) == {(4, 4): BLUE}


def test_19_classes_stand_in_rows_of_5() -> None:
    canvas = Canvas((128, 128), 19, 5, "", 1)
    (x0, y0), (x1, _) = canvas.origin(0), canvas.origin(1)
    assert canvas.origin(18) == (x0 + 3 * (x1 - x0), y0 + 3 * (canvas.origin(5)[1] - y0))
    assert canvas.origin(18)[1] + 128 < canvas.size[1]
    assert canvas.origin(4)[0] + 128 < canvas.size[0]


def test_the_legend_names_both_colours_once(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "data", sample([(0, 0, 1, 0)]))
    draw_sample(dataset, "user00_a_01", Span(), 1, tmp_path / "a.png")
    below = pixels(tmp_path / "a.png")[Canvas((HEIGHT, WIDTH), 1, 1, "", 1).origin(0)[1] + HEIGHT + 2 :]
    for colour in (ORANGE, BLUE):
        lines, columns = np.nonzero((below == colour).all(axis=2))
        assert len(lines) == (np.ptp(lines) + 1) * (np.ptp(columns) + 1) == 12 * 12


def test_an_unknown_name_is_refused_with_similar_ones_and_the_way_to_all(tmp_path: Path) -> None:
    dataset = two_recordings(tmp_path)
    assert find_sample(dataset, "user00_a_03") == 2
    with pytest.raises(UsageError) as caught:
        find_sample(dataset, "user0_a_03")
    assert "has no sample 'user0_a_03'; did you mean \"user00_a_03" in str(caught.value)
    assert f"`sltune inspect {dataset.root} --samples` lists all" in str(caught.value)
    with pytest.raises(UsageError, match=r"has no recording 'user01_a'; did you mean \"user0"):
        contact_sheet(dataset, Span(), 1, "user01_a")
    with pytest.raises(UsageError, match=r"has no sample 'xyz'\. `sltune"):
        find_sample(dataset, "xyz")


@pytest.mark.parametrize("letters", ["Ää", "ßø", "Łł", "Жж", "Ωω"])
def test_letters_of_other_languages_are_drawn_as_themselves(letters: str) -> None:
    """A font without them draws the same box for each."""
    first, second = (np.asarray(Canvas((8, 8), 1, 1, letter, 1).image([])) for letter in letters)
    assert first.shape != second.shape or (first != second).any()
