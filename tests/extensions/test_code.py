"""A user's code: what is found, copied and imported, and what is said of code that cannot be."""

from __future__ import annotations

import inspect
import json
import sys
import threading
import traceback
from pathlib import Path

import pytest
import torch

from sltune.errors import CodeError
from sltune.extensions import importing
from sltune.extensions.code import Code, collect, is_reference, read_copy

TINY = "class Tiny:\n    width = 3\n"


def write(folder: Path, **files: str) -> Path:
    """Write modules; what stands behind ``_of_`` in a name is the folder."""
    for name, text in files.items():
        module, _, package = name.partition("_of_")
        file = folder / package.replace("_in_", "/") / f"{module}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


def refusal(text: str, *folders: Path) -> str:
    with pytest.raises(CodeError) as caught:
        collect([text], folders).load(text)
    return str(caught.value)


def test_names_with_a_colon_are_references() -> None:
    assert is_reference("nets.py:Tiny")
    assert not is_reference("slanimals")


def test_a_file_is_read_once_and_imported_from_memory(tmp_path: Path) -> None:
    write(tmp_path, nets=TINY)
    code = collect(["nets.py:Tiny"], [tmp_path])
    (tmp_path / "nets.py").unlink()
    assert code.load("nets.py:Tiny").width == 3
    assert code.load("nets.py:Tiny") is code.load("nets.py:Tiny")
    assert code.files == {"nets.py": TINY}
    assert code.origin == str(tmp_path)


def test_two_versions_of_a_file_live_in_one_process(tmp_path: Path) -> None:
    first = collect(["nets.py:Tiny"], [write(tmp_path / "a", nets=TINY)])
    second = collect(["nets.py:Tiny"], [write(tmp_path / "b", nets=TINY.replace("3", "4"))])
    assert (first.load("nets.py:Tiny").width, second.load("nets.py:Tiny").width) == (3, 4)
    assert first.digest != second.digest


def test_the_folder_that_is_named_first_counts(tmp_path: Path) -> None:
    folders = [write(tmp_path / "a", other=TINY), write(tmp_path / "b", nets=TINY), write(tmp_path / "c", nets="")]
    assert collect(["nets.py:Tiny"], folders).origin == str(tmp_path / "b")


def test_a_folder_is_a_package_whose_modules_import_each_other(tmp_path: Path) -> None:
    write(tmp_path, __init___of_nets="from .deep.blocks import Tiny\n", blocks_of_nets_in_deep=TINY)
    (tmp_path / "nets" / ".hidden.py").write_text("broken(")
    (tmp_path / "nets" / "notes.txt").write_text("not code")
    code = collect(["nets/:Tiny"], [tmp_path])
    assert code.load("nets/:Tiny").width == 3
    assert set(code.files) == {"nets/__init__.py", "nets/deep/blocks.py"}


def test_a_copy_in_a_run_folder_has_the_digest_of_what_was_copied(tmp_path: Path) -> None:
    write(tmp_path / "home", __init___of_nets="from .blocks import Tiny\n", blocks_of_nets=TINY, one_of_extra=TINY)
    code = collect(["nets/:Tiny", "extra/one.py:Tiny"], [tmp_path / "home"])
    for name, text in code.files.items():
        (tmp_path / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "code" / name).write_text(text)
    assert read_copy(tmp_path / "code", {}, "").digest == code.digest
    assert code.load("extra/one.py:Tiny").width == 3


def test_without_code_there_is_no_digest() -> None:
    assert Code().digest == ""
    assert collect([], []).digest == ""


def test_an_installed_module_is_told_from_another_version_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, __init___of_own_package="", nets_of_own_package=TINY)
    monkeypatch.syspath_prepend(tmp_path)
    code = collect(["own_package.nets:Tiny"], [])
    assert code.load("own_package.nets:Tiny").width == 3
    assert not code.files
    (tmp_path / "own_package" / "nets.py").write_text(TINY + "# changed\n")
    with pytest.raises(CodeError, match=r"own_package\.nets is another version than where the run began"):
        code.load("own_package.nets:Tiny")
    for name in ("own_package", "own_package.nets"):
        sys.modules.pop(name)


def test_traces_and_inspect_show_the_lines_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    write(tmp_path, nets="class Tiny:\n    def forward(self):\n        return 1 / 0  # here\n")
    code = collect(["nets.py:Tiny"], [tmp_path])
    (tmp_path / "nets.py").unlink()
    tiny = code.load("nets.py:Tiny")
    try:
        tiny().forward()
    except ZeroDivisionError as error:
        trace = traceback.format_exc()
        described = importing.describe_error(error)
    assert f'File "{tmp_path}/nets.py", line 3, in forward' in trace
    assert "return 1 / 0  # here" in trace
    assert described == f"line 3 of {tmp_path}/nets.py, in forward: ZeroDivisionError: division by zero"
    assert "# here" in inspect.getsource(tiny)


@pytest.mark.parametrize(
    ("text", "source", "said"),
    [
        ("net.py:Tiny", TINY, "net.py:Tiny: there is no file net.py in {folder}"),
        ("net/:Tiny", TINY, "net/:Tiny: there is no folder net/ in {folder}"),
        ("../nets.py:Tiny", TINY, "../nets.py is not beside or below the space file"),
        ("nets.py:Tinny", TINY, 'nets.py:Tinny: nets.py has no Tinny; did you mean "Tiny"?'),
        ("nets.py:Other", TINY, "nets.py:Other: nets.py has no Other; it has Tiny"),
        ("nets.py:Other", "", "nets.py:Other: nets.py has no Other; it defines nothing"),
        ("nets.py:Tiny", "import nowhere\n", "line 1 of {folder}/nets.py, in <module>: ModuleNotFoundError"),
        ("nets.py:Tiny", "\nx = 1 / 0\n", "line 2 of {folder}/nets.py, in <module>: ZeroDivisionError"),
        ("nets.py:Tiny", "\n\ndef f(:\n", "line 3 of {folder}/nets.py: SyntaxError"),
        ("nets.py:Tiny", "raise SystemExit(3)\n", "line 1 of {folder}/nets.py, in <module>: SystemExit: 3"),
        ("nowhere.nets:Tiny", TINY, "nowhere.nets:Tiny: there is no module nowhere; install it, or give a path"),
        ("json.nowhere:Tiny", TINY, "json.nowhere:Tiny: there is no module json.nowhere; install it"),
    ],
)
def test_code_that_cannot_be_used_is_refused_with_the_users_line(
    tmp_path: Path, text: str, source: str, said: str
) -> None:
    assert said.format(folder=tmp_path) in refusal(text, write(tmp_path, nets=source))


def test_the_hint_of_a_missing_module_says_how_to_bring_one_along(tmp_path: Path) -> None:
    write(tmp_path, nets="import blocks\n", blocks=TINY, __init___of_more="import blocks\n", blocks_of_more=TINY)
    said = "install blocks, or, if it is a file beside yours, put both into a folder with an __init__.py"
    assert said in refusal("nets.py:Tiny", tmp_path)
    assert "from .other import Name" in refusal("more/:Tiny", tmp_path)


def test_a_folder_without_its_own_file_is_refused(tmp_path: Path) -> None:
    assert "has no __init__.py" in refusal("nets/:Tiny", write(tmp_path, blocks_of_nets=TINY))


def test_files_that_are_no_source_code_are_refused(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_bytes(b"\xff\xfe")
    assert "is not UTF-8 text" in refusal("nets.py:Tiny", tmp_path)
    (tmp_path / "nets.py").write_bytes(b"#" * ((1 << 20) + 1))
    assert "cannot be read" in refusal("nets.py:Tiny", tmp_path)


def test_code_from_two_folders_is_refused(tmp_path: Path) -> None:
    folders = [write(tmp_path / "a", one=TINY), write(tmp_path / "b", two=TINY)]
    with pytest.raises(CodeError, match=r"must lie in one folder, .* put all of it into one"):
        collect(["one.py:Tiny", "two.py:Tiny"], folders)


def test_a_file_and_a_folder_of_one_name_are_refused(tmp_path: Path) -> None:
    write(tmp_path, nets=TINY, __init___of_nets=TINY.replace("3", "4"))
    with pytest.raises(CodeError, match=r"nets\.py and nets/ are one module to Python"):
        collect(["nets/:Tiny", "nets.py:Tiny"], [tmp_path])


def test_an_import_that_failed_is_tried_anew(tmp_path: Path) -> None:
    source = "import os\nif 'SLTUNE_FAILS' in os.environ:\n    raise RuntimeError('first')\n" + TINY
    code = collect(["nets.py:Tiny"], [write(tmp_path, nets=source)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLTUNE_FAILS", "1")
        with pytest.raises(CodeError, match="RuntimeError: first"):
            code.load("nets.py:Tiny")
    assert code.load("nets.py:Tiny").width == 3


@pytest.mark.parametrize(
    "loop", ["while True:\n    pass\n", "while True:\n    try:\n        pass\n    except Exception:\n        pass\n"]
)
def test_an_endless_loop_at_import_ends_with_the_line_that_it_is_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loop: str
) -> None:
    monkeypatch.setattr(importing, "MAX_IMPORT_SECONDS", 0.2)
    text = refusal("nets.py:Tiny", write(tmp_path, nets=loop))
    assert "its import has not ended after 0.2 s; it is at line" in text
    assert f"of {tmp_path}/nets.py" in text


def test_code_is_imported_in_other_threads_too(tmp_path: Path) -> None:
    code = collect(["nets.py:Tiny"], [write(tmp_path, nets=TINY.replace("3", "5"))])
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(code.load("nets.py:Tiny").width))
    thread.start()
    thread.join()
    assert found == [5]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class E(BaseException):\n    pass\nraise E('x')\n", "line 3 of {folder}/nets.py, in <module>: E: x"),
        (
            "class E(Exception):\n    __str__ = None\nraise E()\n",
            "line 3 of {folder}/nets.py, in <module>: E: its message",
        ),
        (
            "def __getattr__(name):\n    raise OSError(name)\n",
            "line 2 of {folder}/nets.py, in __getattr__: OSError: Tiny",
        ),
    ],
)
def test_an_unusual_exception_is_named_with_its_line(tmp_path: Path, source: str, said: str) -> None:
    assert said.format(folder=tmp_path) in refusal("nets.py:Tiny", write(tmp_path, nets=source))


def test_the_message_of_an_exception_is_shortened(tmp_path: Path) -> None:
    assert len(refusal("nets.py:Tiny", write(tmp_path, nets="raise ValueError('x' * 10**6)\n"))) < 3000


def test_a_file_of_windows_is_imported_and_kept_to_the_byte(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbf" + TINY.replace("\n", "\r\n").encode()
    (tmp_path / "nets.py").write_bytes(content)
    code = collect(["nets.py:Tiny"], [tmp_path])
    assert code.load("nets.py:Tiny").width == 3
    assert code.files["nets.py"].encode() == content


def test_code_that_is_forgotten_runs_anew(tmp_path: Path) -> None:
    code = collect(["nets.py:Tiny"], [write(tmp_path, nets=TINY)])
    code.load("nets.py:Tiny").width = 4
    assert code.load("nets.py:Tiny").width == 4
    code.forget()
    assert code.load("nets.py:Tiny").width == 3


def test_only_torch_python_and_sltune_are_libraries_and_no_neighbour_of_theirs() -> None:
    package, stdlib = Path(importing.__file__).parents[1], Path(json.__file__).parents[1]
    libraries = [importing.__file__, json.__file__, torch.nn.__file__, "<frozen runpy>"]
    assert all(map(importing.is_library, libraries))
    users = [f"{package}_nets.py", str(stdlib / "site-packages" / "nets.py"), "/home/ada/nets.py", "<stdin>"]
    assert not any(map(importing.is_library, users))
