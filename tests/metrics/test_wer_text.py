"""WER of transcripts as people write them: pocket's clips with other transcripts, expected values by jiwer."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import jiwer
import pytest

from syncdiff_bench import load_dataset, score
from syncdiff_bench.contracts import Clip, Metric, Pair
from syncdiff_bench.errors import ClipError
from syncdiff_bench.plugins import load_metric
from syncdiff_bench.registry import load_class
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.plan import load_metrics, make_runtime
from syncdiff_bench.texts import metric_specs
from syncdiff_bench.views import PairedDataset
from syncdiff_metrics.training.clips import read_split
from syncdiff_metrics.wer import WER, WEROptions

SPOKEN = "wer[reader=pocket]"
CLIPS = ("3000000000000000000/00001", "3000000000000000001/00001")
Scored = Callable[..., Run]


@pytest.fixture
def scored(tmp_path: Path) -> Scored:
    """Pocket's clips, named a, b, ..., beside `.txt` files of these bytes; scored by pocket's lip reader."""

    def do(*transcripts: bytes, spec: str = SPOKEN) -> Run:
        pocket, folder = load_dataset("pocket"), tmp_path / "videos"
        folder.mkdir()
        for name, clip_id, transcript in zip("ab", CLIPS, transcripts, strict=False):
            video = pocket.clip(clip_id).path
            assert video is not None
            shutil.copy(video, folder / f"{name}.mp4")
            (folder / f"{name}.txt").write_bytes(transcript)
        return score(folder, metrics=[spec], out=tmp_path / "out", device="cpu")

    return do


@pytest.fixture(scope="module")
def read() -> tuple[str, ...]:
    """What pocket's reader says of the clips."""
    metric, pocket = load_metric("wer", {"reader": "pocket"}, make_runtime("cpu")), load_dataset("pocket")
    metric.prepare()
    return tuple(metric.measure(Pair(pocket.clip(clip_id))).hypothesis for clip_id in CLIPS)


@pytest.fixture(scope="module")
def said() -> tuple[str, ...]:
    pocket = load_dataset("pocket")
    return tuple(pocket.clip(clip_id).transcript or "" for clip_id in CLIPS)


@pytest.fixture(scope="module")
def normalising() -> Metric:
    (metric,) = load_metrics(metric_specs([SPOKEN]), make_runtime("cpu"), load_class("dataset", "folder"))
    metric.prepare()
    return metric


def only(run: Run) -> tuple[str, float | None, int, int]:
    (entry,) = run.summary
    return entry.protocol, entry.mean, entry.n, entry.failed


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "cp1252"], ids=lambda name: f"in-{name}"
)
def test_case_punctuation_and_encoding_change_no_number(
    scored: Scored, said: tuple[str, ...], read: tuple[str, ...], encoding: str
) -> None:
    written = [f"“{' '.join(text.title().split())}”,\r\nnaïve — soon.\r\n".encode(encoding) for text in said]
    protocol, wer, n, failed = only(scored(*written))
    assert (protocol, n, failed) == ("pocket-normalised", 2, 0)
    assert wer == pytest.approx(100 * jiwer.wer([f"{text} naive soon" for text in said], list(read)))


def test_lrs_and_pocket_keep_the_official_rule_and_all_else_is_another_column() -> None:
    specs = [SPOKEN, "wer", "wer[beam=5]"]
    for dataset in ("lrs2", "lrs3", "pocket"):
        found = load_metrics(metric_specs(specs), make_runtime("cpu"), load_class("dataset", dataset))
        assert [metric.protocol for metric in found] == ["pocket", "centre88-160", "centre88-160-beam5"]
    found = load_metrics(metric_specs(specs), make_runtime("cpu"), load_class("dataset", "folder"))
    normalised = ["pocket-normalised", "centre88-160-normalised", "centre88-160-beam5-normalised"]
    assert [metric.protocol for metric in found] == normalised
    assert [load_metric(metric.name, {"text": "normalised"}).protocol for metric in found][1] == normalised[1]
    as_told = load_metrics(metric_specs(["wer[text=official]"]), make_runtime("cpu"), load_class("dataset", "folder"))
    assert [metric.protocol for metric in as_told] == ["centre88-160"]


def test_a_paired_data_set_keeps_the_rule_of_its_clips(tmp_path: Path) -> None:
    (tmp_path / "pairs.txt").write_text(f"{CLIPS[0]} {CLIPS[1]}\n")
    paired = load_dataset("pocket", options={"pairs": str(tmp_path / "pairs.txt")})
    assert isinstance(paired, PairedDataset)
    assert [metric.protocol for metric in load_metrics(metric_specs([SPOKEN]), make_runtime("cpu"), paired)] == [
        "pocket"
    ]


def test_words_beyond_the_reader_and_numbers_are_counted_below_the_table(
    scored: Scored, said: tuple[str, ...], read: tuple[str, ...]
) -> None:
    run = scored(f"{said[0]}, 北京 zebra!".encode(), said[1].replace("one", "1").encode() + b" 2")
    expected = [f"{said[0]} 北京 zebra", f"{said[1]} two"]
    assert only(run)[1] == pytest.approx(100 * jiwer.wer(expected, list(read)))
    told = {one.kind: one for one in run.caveats if one.metric == "wer"}
    assert told["unspellable"].clips == ("a",)
    assert told["unspellable"].text.endswith(
        "1 of 2 clips: 2 words of the references cannot be spelt by the VSR model, so that they are never read right "
        "(a: cannot spell 北京, zebra)"
    )
    assert told["numbers"].clips == ("b",)


def test_pockets_own_transcripts_hold_nothing_to_tell(normalising: Metric) -> None:
    pocket = load_dataset("pocket")
    official = load_metric("wer", {"reader": "pocket"}, make_runtime("cpu"))
    official.prepare()
    pair = Pair(pocket.clip(CLIPS[0]))
    for metric in (official, normalising):
        stats = metric.measure(pair)
        assert stats.reference == pair.target.transcript
        assert metric.caveats(pair, stats) == ()


def test_the_official_rule_counts_unspellable_words_of_the_transcript(said: tuple[str, ...]) -> None:
    metric = WER(WEROptions(reader="pocket"))
    metric.prepare()
    clip = load_dataset("pocket").clip(CLIPS[0])
    pair = Pair(Clip("a", "lrs2", path=clip.path, transcript=f"{said[0]} soon, 3"))
    stats = metric.measure(pair)
    assert stats.reference == f"{said[0]}<unk><unk>", "as the official script glues them"
    (caveat,) = [one for one in metric.caveats(pair, stats) if one.kind != "foreign-judge"]
    assert (caveat.kind, caveat.amount, caveat.detail) == ("unspellable", 2, "cannot spell soon,, 3")


def test_a_transcript_of_no_words_fails_its_clip_with_the_reason(
    scored: Scored, said: tuple[str, ...], read: tuple[str, ...]
) -> None:
    run = scored(b"... !?\n", said[1].encode())
    (row,) = [row for row in run.scores if row.error]
    assert row.error is not None
    assert (row.clip, row.error.kind) == ("a", "transcript")
    assert row.error.message == "a: no word is left of its transcript '... !?'; mend its text"
    assert only(run) == ("pocket-normalised", pytest.approx(100 * jiwer.wer(said[1], read[1])), 1, 1)


def test_a_file_that_is_no_transcript_fails_its_clip_with_the_reason(scored: Scored, said: tuple[str, ...]) -> None:
    run = scored(b"bin\n\x81", said[1].encode())
    (row,) = [row for row in run.scores if row.error]
    assert row.error is not None
    assert (row.clip, row.error.kind) == ("a", "transcript")
    assert "a.txt line 2: byte 0x81" in row.error.message
    assert only(run)[2:] == (1, 1)


def test_a_guessed_encoding_is_told(normalising: Metric, said: tuple[str, ...]) -> None:
    clip = load_dataset("pocket").clip(CLIPS[0])
    pair = Pair(Clip("a", "folder", path=clip.path, transcript=said[0], transcript_note="not UTF-8; taken for cp1252"))
    found = normalising.caveats(pair, normalising.measure(pair))
    (caveat,) = [one for one in found if one.kind != "foreign-judge"]
    assert (caveat.kind, caveat.detail) == ("encoding", "not UTF-8; taken for cp1252")


def test_a_hypothesis_in_digits_is_normalised_too(normalising: Metric) -> None:
    assert isinstance(normalising, WER)
    assert normalising._compared("bin nineteen ninety", "Bin 1990").errors == 0
    assert "num2words" in normalising.provenance()


def test_readers_and_recognisers_learn_the_words_that_are_compared(tmp_path: Path) -> None:
    video = load_dataset("pocket").clip(CLIPS[0]).path
    assert video is not None
    for name, text in (("a", "Place white at L 6, soon."), ("b", "..."), ("c", "")):
        shutil.copy(video, tmp_path / f"{name}.mp4")
        (tmp_path / f"{name}.txt").write_text(text)
    clips = read_split(load_dataset("folder", data_root=tmp_path), "all", 32, tmp_path / "cache")
    assert [clip.transcript for clip in clips] == ["place white at l six soon", "", ""]


def test_no_transcript_at_all_is_an_error_of_the_clip(normalising: Metric) -> None:
    clip = load_dataset("pocket").clip(CLIPS[0])
    with pytest.raises(ClipError, match="no transcript to compare with"):
        normalising.measure(Pair(Clip("a", "folder", path=clip.path)))
