"""Where data sets lie: --data-root, `data add`, SYNCDIFF_BENCH_DATA, in that order; for every command and function."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from console import printed, refusal

from syncdiff_bench import load_dataset, roots
from syncdiff_bench.cli import launch, main
from syncdiff_bench.errors import UsageError
from syncdiff_bench.registry import load_class
from syncdiff_bench.runs.directory import load_run

STATIC = ["--method", "static", "--boxes", "centred", "--metrics", "psnr[region=full]"]
WAYS = ("--data-root DIR", "`syncdiff-bench data add lrs2 DIR`", "SYNCDIFF_BENCH_DATA=DIR")


@pytest.fixture(autouse=True)
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, no variable, an empty working folder."""
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
    monkeypatch.delenv("SYNCDIFF_BENCH_DATA", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.fixture
def variable(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def holds(*folders: Path | str) -> None:
        monkeypatch.setenv("SYNCDIFF_BENCH_DATA", os.pathsep.join(map(str, folders)))

    return holds


def found(name: str, given: Path | None = None) -> tuple[Path, str]:
    root = roots.root_of(load_class("dataset", name), given)
    assert root is not None
    return root.folder, root.source


def write_file(user: Path, content: bytes) -> Path:
    (user / "home").mkdir(exist_ok=True)
    path = user / "home" / "data-roots.txt"
    path.write_bytes(content)
    return path


# ---------------------------------------------------------------------------------------- which folder it is


def test_what_is_given_comes_before_what_was_added_and_that_before_the_variable(
    lrs2_home: Path, user: Path, variable: Callable[..., None]
) -> None:
    with pytest.raises(UsageError, match="dataset 'lrs2' needs its folder") as caught:
        load_dataset("lrs2")
    assert all(way in str(caught.value) for way in WAYS)
    of_variable, added, given = (user / place / "mvlrs_v1" for place in "vag")
    for folder in (of_variable, added, given):
        shutil.copytree(lrs2_home, folder)
    variable(of_variable.parent)
    assert found("lrs2") == (of_variable, "SYNCDIFF_BENCH_DATA")
    assert load_dataset("lrs2").root == of_variable
    roots.add("lrs2", added)
    assert found("lrs2") == (added, "data add")
    assert found("lrs2", given) == (given, "--data-root")
    roots.remove("lrs2")
    assert found("lrs2") == (of_variable, "SYNCDIFF_BENCH_DATA")


def test_the_variable_holds_data_sets_under_usual_names_or_is_one(
    lrs2_home: Path, lrs3_home: Path, user: Path, variable: Callable[..., None]
) -> None:
    data = lrs2_home.parent
    assert data == lrs3_home.parent
    variable(data)  # LRS2's pretrain/ and LRS3's test/ do not make one the other
    assert found("lrs2")[0] == lrs2_home and found("lrs3")[0] == lrs3_home
    variable(lrs2_home, lrs3_home)
    assert found("lrs2")[0] == lrs2_home and found("lrs3")[0] == lrs3_home
    variable(user / "gone", "", lrs3_home, lrs2_home)
    assert found("lrs2")[0] == lrs2_home
    (data / "metadata").mkdir()
    bbc, talks = lrs2_home.rename(data / "LRS2_BBC"), lrs3_home.rename(data / "LRS3")
    variable(data)
    assert found("lrs2")[0] == bbc and found("lrs3")[0] == talks
    other, spoken = bbc.rename(user / "bbc"), talks.rename(user / "talks")
    variable(other, spoken)  # of no usual name: by their layout
    assert found("lrs2")[0] == other and found("lrs3")[0] == spoken
    for alone, name in ((other, "lrs3"), (spoken, "lrs2")):
        variable(alone)
        with pytest.raises(UsageError, match=f"SYNCDIFF_BENCH_DATA is {alone}, where no folder {name} or"):
            found(name)


def test_of_folders_of_usual_names_the_one_that_holds_clips(lrs2_home: Path, variable: Callable[..., None]) -> None:
    (lrs2_home.parent / "lrs2" / "main").mkdir(parents=True)  # without lists it has no splits
    variable(lrs2_home.parent)
    assert found("lrs2")[0] == lrs2_home
    (lrs2_home.parent / "lrs2" / "main").rmdir()
    shutil.rmtree(lrs2_home)
    with pytest.raises(UsageError, match=r"/lrs2: no lrs2 here.* --data-root DIR, once .*SYNCDIFF_BENCH_DATA=DIR"):
        load_dataset("lrs2").clip_ids("test")


def test_any_folder_of_videos_is_not_the_data_set_folder(lrs3_home: Path, variable: Callable[..., None]) -> None:
    variable(lrs3_home)
    with pytest.raises(UsageError, match="'folder' needs its folder"):
        load_dataset("folder")
    roots.add("folder", lrs3_home)
    assert len(load_dataset("folder").clip_ids("test")) == 4


def test_an_embedded_data_set_stays_where_it_is(user: Path, variable: Callable[..., None]) -> None:
    (user / "pocket").mkdir()
    variable(user)
    assert load_dataset("pocket").root is None


# ----------------------------------------------------------------------------------------- from the command line


def test_the_words_of_a_user_are_enough(
    lrs2_home: Path, variable: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    variable(lrs2_home.parent)
    words = ["run", "--method", "syncdiff", "--dataset", "lrs2"]
    told = f"lrs2: {lrs2_home} (by SYNCDIFF_BENCH_DATA)"
    assert main(words) == 2
    first, last = capsys.readouterr().err.splitlines()
    assert first == told and last.startswith("error: syncdiff has no model for dataset lrs2: training/paper/model is")
    assert "train syncdiff/paper --set options" in last and "--data-root" not in last  # its advice works as it is
    asked = [*words, "--set", "model=pocket", "--set", "steps=1", *STATIC[2:], "--limit", "1", "--device", "cpu"]
    assert main([*asked, "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert f"clips in {lrs2_home}" in out and err.splitlines()[0] == told
    assert main(asked) == 0
    assert capsys.readouterr().err.splitlines()[0] == told
    run = load_run(Path("runs/lrs2-test-first1/syncdiff"))
    assert run.finished and run.identity.root == str(lrs2_home)
    assert [row.error for row in run.scores] == [None]


def test_a_run_goes_on_where_the_data_lie_now(
    lrs2_home: Path, user: Path, variable: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *STATIC, "--dataset", "lrs2", "--data-root", str(lrs2_home)]) == 0
    now = user / "elsewhere"
    shutil.move(lrs2_home, now / "mvlrs_v1")
    again = ["score", "runs/lrs2-test", "--metrics", "ssim[region=full]"]
    line = refusal(capsys, again)
    assert f"{lrs2_home}, where lrs2 was: does not exist" in line and all(way in line for way in WAYS)
    variable(now)
    assert main(again) == 0
    assert main(["run", *STATIC, "--dataset", "lrs2"]) == 0  # the same run, wherever its data lie
    assert main(["report", "runs/lrs2-test", "--strip", "faces.png"]) == 0
    assert "without the reference" not in capsys.readouterr().err


def test_every_command_that_reads_data_finds_them(lrs2_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "add", "lrs2", str(lrs2_home)]) == 0
    told = f"lrs2: {lrs2_home} (by data add)"
    train = ["--set", "data.dataset=lrs2", "--set", "data.split=test", "--set", "data.validation_split=test"]
    for words, code in (
        (["data", "verify", "--dataset", "lrs2", "--limit", "1"], 0),
        (["data", "prepare", "faces", "--dataset", "lrs2", "--detector", "dlib-hog"], 0),
        (["generate", *STATIC[:4], "--dataset", "lrs2"], 0),
        (["score", *STATIC, "--dataset", "lrs2"], 0),
        (["paper", "calibrate", "--dataset", "lrs2", "--limit", "1"], None),
        (["train", "syncdiff-autoencoder/pocket-autoencoder", *train, "--dry-run"], 0),
    ):
        capsys.readouterr()
        answer = main(words)
        out, err = capsys.readouterr()
        assert answer in ((0, 1) if code is None else (code,)), (words, out, err)
        assert told in err, words


def test_a_reproduction_and_its_trainings_get_the_folder(lrs2_home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    roots.add("lrs2", lrs2_home)
    plan = ["paper", "reproduce", "--table", "3", "--dataset", "lrs2", "--dry-run", "--limit", "1", "--device", "cpu"]
    assert main(plan) == 0
    out, err = capsys.readouterr()
    assert f"lrs2: {lrs2_home} (by data add)" in err
    assert f"syncdiff-bench train syncdiff/paper --data-root {lrs2_home}" in " ".join(out.split())


def test_a_job_on_another_node_reads_the_same_places(
    lrs2_home: Path, user: Path, variable: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    roots.add("lrs2", lrs2_home)
    monkeypatch.chdir(user)
    variable("data")
    sent = launch.places()
    assert sent == {"SYNCDIFF_BENCH_HOME": str(user / "home"), "SYNCDIFF_BENCH_DATA": str(user / "data")}
    for name in sent:
        monkeypatch.setenv(name, "of-that-node")
    launch.carry_out(["generate", *STATIC[:4], "--dataset", "lrs2", "--out", "o"], 1, sent)
    assert load_run(Path("o/static")).identity.root == str(lrs2_home)


# ------------------------------------------------------------------------------------- data add, list and remove


def test_add_checks_the_layout_and_says_what_it_found(
    lrs2_home: Path, lrs3_home: Path, user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = lrs2_home.parent
    out = printed(capsys, ["data", "add", "lrs2", os.path.relpath(lrs2_home)])
    assert out == f"lrs2: {user / 'work' / os.path.relpath(lrs2_home)}: pretrain 1 clips, test 2 clips\n"
    assert printed(capsys, ["data", "add", "lrs2", str(lrs2_home)]).startswith(f"lrs2: {lrs2_home} (before: ")
    assert printed(capsys, ["data", "add", "lrs3", str(data / "lrs3")]).endswith("trainval 1 clips, test 3 clips\n")
    (user / "bare" / "main").mkdir(parents=True)
    kept = (user / "home" / "data-roots.txt").read_text()
    assert kept == f"lrs2={lrs2_home}\nlrs3={lrs3_home}\n"
    for words, told in (
        (["lrs3", str(lrs2_home / "main")], "no lrs3 here"),
        (["lrs2", str(user / "work")], "no lrs2 here"),
        (["lrs2", str(user / "bare")], "no split of lrs2 is there"),
        (["lrs2", "nowhere"], "nowhere: does not exist"),
        (["lsr2", str(lrs2_home)], "did you mean 'lrs2'"),
        (["pocket", str(user)], "pocket is part of its package"),
    ):
        assert told in refusal(capsys, ["data", "add", *words])
    assert (user / "home" / "data-roots.txt").read_text() == kept


def test_list_shows_who_says_what_and_remove_forgets_it(
    lrs2_home: Path, lrs3_home: Path, user: Path, variable: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert printed(capsys, ["data", "list"]).startswith("none is known; give --data-root DIR, once")
    roots.add("lrs2", lrs2_home)
    variable(lrs2_home.parent, user / "gone")
    listed = json.loads(printed(capsys, ["data", "list", "--json"]))
    assert [(one["dataset"], one["folder"], one["source"]) for one in listed] == [
        ("lrs2", str(lrs2_home), "data add"),
        ("", str(user / "gone"), "SYNCDIFF_BENCH_DATA"),
        ("lrs3", str(lrs3_home), "SYNCDIFF_BENCH_DATA"),
    ]
    assert [one["problem"] for one in listed] == ["", "does not exist; correct SYNCDIFF_BENCH_DATA", ""]
    doctor = printed(capsys, ["doctor"])
    assert f"ok   dataset lrs2: {lrs2_home} (by data add): pretrain, test\n" in doctor
    assert f"ok   dataset lrs3: {lrs3_home} (by SYNCDIFF_BENCH_DATA): trainval, test\n" in doctor
    assert f"warn dataset: {user / 'gone'} (by SYNCDIFF_BENCH_DATA): does not exist\n     -> correct SYN" in doctor
    assert "forgotten" in printed(capsys, ["data", "remove", "lrs2"])
    assert "has no line of data set 'lrs2'; it has none" in refusal(capsys, ["data", "remove", "lrs2"])


@pytest.mark.parametrize("name", ["two\nlines", "ends in a blank ", os.fsdecode(b"caf\xe9"), "cr\rreturn"])
def test_a_folder_that_no_line_can_hold_is_refused(name: str, lrs3_home: Path, user: Path) -> None:
    shutil.copytree(lrs3_home, user / name)
    with pytest.raises(UsageError, match="no line of a file can hold this name"):
        roots.add("lrs3", user / name)
    assert found("lrs3", user / name)[1] == "--data-root"


def test_lines_that_cannot_be_used_cost_nothing_but_themselves(
    lrs2_home: Path, user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_file(
        user,
        b"\xef\xbb\xbf# mine\r\n\xff\xfe\nnonsense\nlrs4=/data/lrs4\nlrs3=relative\nfolder=/no\x00where\n\nlrs2="
        + os.fsencode(lrs2_home)
        + b"\r\n",
    )
    assert found("lrs2") == (lrs2_home, "data add")
    listed = json.loads(printed(capsys, ["data", "list", "--json"]))
    assert [(one["line"], one["dataset"]) for one in listed] == [
        *((2, ""), (3, ""), (4, "lrs4"), (5, "lrs3"), (6, "folder"), (8, "lrs2"))
    ]
    problems = [one["problem"] for one in listed]
    assert "is not UTF-8; delete it" in problems[0] and "is not NAME=FOLDER" in problems[1]
    assert problems[2].startswith("unknown data set; ") and problems[5] == ""
    line = refusal(capsys, ["run", *STATIC, "--dataset", "lrs3"])
    assert f"line 5 of {path}: 'lrs3=relative' is not NAME=FOLDER" in line and "SYNCDIFF_BENCH_DATA=DIR" in line
    doctor = printed(capsys, ["doctor"])
    assert f"line 2 of {path}" in doctor and "Traceback" not in doctor
    roots.add("lrs3", lrs2_home)
    roots.remove("lrs2")
    assert path.read_bytes() == (
        b"# mine\n\xff\xfe\nnonsense\nlrs4=/data/lrs4\nfolder=/no\x00where\n\nlrs3=" + os.fsencode(lrs2_home) + b"\n"
    )


def test_a_folder_that_is_gone_is_told_with_its_line_and_not_passed_over(
    lrs2_home: Path, user: Path, variable: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    variable(lrs2_home)
    path = write_file(user, b"lrs2=/gone/mvlrs_v1\n")
    line = refusal(capsys, ["run", *STATIC, "--dataset", "lrs2"])
    assert f"/gone/mvlrs_v1 (line 1 of {path}): does not exist; give" in line and all(way in line for way in WAYS)
    assert main(["data", "verify", "--dataset", "lrs2", "--data-root", str(lrs2_home), "--limit", "1"]) == 0
    assert "-> mount it, or syncdiff-bench data add lrs2 DIR" in printed(capsys, ["doctor"])


def test_a_file_that_cannot_be_read_or_written_is_one_line(
    lrs2_home: Path, user: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = user / "home" / "data-roots.txt"
    folder.mkdir(parents=True)
    for words in (["run", *STATIC, "--dataset", "lrs2"], ["data", "list"], ["data", "add", "lrs2", str(lrs2_home)]):
        assert str(folder) in refusal(capsys, words)
    assert main(["doctor"]) == 1
    assert main(["run", *STATIC, "--dataset", "lrs2", "--data-root", str(lrs2_home), "--dry-run"]) == 0
