"""Checkpoints are read without running anything in them, and a wrong one is refused by name in one line."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights.loading import (
    PickledDtype,
    check_state_dict,
    load_pickled_arrays,
    load_tensors,
    load_torch,
    restricted_unpickle,
)

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.tensor([1, 2])}


class Payload:
    """Leaves a mark when unpickled freely."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


class Settings:
    """A class that a caller may or may not allow."""

    def __init__(self, depth: int) -> None:
        self.depth = depth


class SettingsStub:
    depth: int


def same(found: dict[str, torch.Tensor]) -> bool:
    return found.keys() == TENSORS.keys() and all(torch.equal(found[key], TENSORS[key]) for key in TENSORS)


@pytest.mark.parametrize("layout", ["safetensors", "zip", "legacy", "nested"])
def test_every_layout_gives_its_tensors(layout, tmp_path):
    path = tmp_path / ("x.safetensors" if layout == "safetensors" else "x.model")
    if layout == "safetensors":
        save_file(TENSORS, path)
    elif layout == "nested":
        torch.save({"state_dict": OrderedDict(TENSORS), "optimizer": None, "global_step": 7}, path)
    else:
        torch.save(OrderedDict(TENSORS), path, _use_new_zipfile_serialization=layout == "zip")
    assert same(load_tensors(path))


@pytest.mark.parametrize("new", [True, False])
@pytest.mark.parametrize("where", [lambda bad: bad, lambda bad: {"state_dict": TENSORS, "callbacks": bad}])
def test_code_in_a_torch_file_is_refused_and_not_run(tmp_path, new, where):
    mark = tmp_path / "mark"
    path = tmp_path / "bad.pth"
    torch.save(where(Payload(mark)), path, _use_new_zipfile_serialization=new)
    with pytest.raises(WeightsError, match=r"bad\.pth") as caught:
        load_tensors(path)
    assert not mark.exists()
    assert "\n" not in str(caught.value)
    assert "mkdir" in str(caught.value)
    torch.load(path, weights_only=False)  # the file is as dangerous as it claims to be
    assert mark.exists()


def test_classes_come_back_as_their_stand_ins_only_where_allowed(tmp_path):
    path = tmp_path / "run.ckpt"
    torch.save({"cfg": Settings(3), "model": TENSORS}, path)
    name = f"{Settings.__module__}.Settings"
    content = load_torch(path, {name: SettingsStub})
    assert isinstance(content["cfg"], SettingsStub)
    assert content["cfg"].depth == 3
    assert same(content["model"])
    for stubs in ({}, {"fairseq.Settings": SettingsStub}):
        with pytest.raises(WeightsError, match=rf"run\.ckpt: holds the foreign class or function {name}"):
            load_torch(path, stubs)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".model"])
@pytest.mark.parametrize("kept", [0, 1, 7, 100, 0.5, 0.99])
def test_truncated_files_are_refused(tmp_path, suffix, kept):
    whole = tmp_path / f"whole{suffix}"
    if suffix == ".safetensors":
        save_file({"w": torch.randn(100, 100)}, whole)
    else:
        torch.save({"w": torch.randn(100, 100)}, whole, _use_new_zipfile_serialization=suffix == ".pth")
    content = whole.read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: kept if isinstance(kept, int) else int(kept * len(content))])
    with pytest.raises(WeightsError, match=r"cut\.") as caught:
        load_tensors(path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("content", [b"<html>not found</html>", b"\0" * 5000, b"PK\3\4garbage", bytes(range(256))])
@pytest.mark.parametrize("reader", [load_tensors, load_pickled_arrays])
def test_other_files_are_refused(tmp_path, content, reader):
    path = tmp_path / "page.pth"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"page\.pth"):
        reader(path)


def test_a_zip_with_a_damaged_pickle_is_refused(tmp_path):
    path = tmp_path / "damaged.pth"
    torch.save(TENSORS, path)
    with zipfile.ZipFile(path) as whole:
        members = {info.filename: whole.read(info) for info in whole.infolist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data[:-20] if name.endswith("data.pkl") else data)
    with pytest.raises(WeightsError, match=r"damaged\.pth is not a readable torch checkpoint"):
        load_tensors(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list, expected named tensors"),
        ({"epoch": 3}, "holds no named tensors"),
        ({"state_dict": {}, "w": torch.zeros(1)}, "holds no named tensors"),
    ],
)
def test_anything_but_named_tensors_is_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=message):
        load_tensors(tmp_path / "x.pth")


def test_a_missing_file_is_named(tmp_path):
    for name in ("none.safetensors", "none.pth"):
        with pytest.raises(WeightsError, match=rf"{name}: no such weights file"):
            load_tensors(tmp_path / name)


# ----------------------------------------------------------------------------------------- plain pickles


def pickled(path: Path, content: Any, protocol: int = 3) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
def test_pickled_arrays_of_old_and_new_numpy(tmp_path, module):
    rng = np.random.default_rng(0)
    arrays = {
        "kernel": rng.normal(size=(3, 4, 5)).astype(np.float32).transpose(2, 0, 1),
        "columns": np.asfortranarray(rng.normal(size=(4, 6))),
        "big endian": np.arange(5, dtype=">i4"),
        "scalar": np.array(2.5),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 3), np.float16),
    }
    path = pickled(tmp_path / "x.ckpt", {"net": arrays})
    content = path.read_bytes()
    path.write_bytes(content.replace(b"numpy._core.multiarray", module).replace(b"numpy.core.multiarray", module))
    found = load_pickled_arrays(path)
    assert found.keys() == {f"net/{name}" for name in arrays}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[f"net/{name}"], array)
        assert found[f"net/{name}"].dtype == array.dtype


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path):
    mark = tmp_path / "mark"
    path = pickled(tmp_path / "bad.ckpt", {"fine": np.zeros(3), "bad": Payload(mark)})
    with pytest.raises(WeightsError, match=r"bad\.ckpt: holds the foreign class or function .*mkdir"):
        load_pickled_arrays(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "numpy.load", "numpy.core.multiarray.dtype.x"])
def test_only_the_named_globals_pass(tmp_path, name):
    module, _, attribute = name.rpartition(".")
    path = tmp_path / "x.ckpt"
    path.write_bytes(b"c" + f"{module}\n{attribute}\n".encode() + b"(S'echo'\ntR.")
    with pytest.raises(WeightsError, match=name.replace(".", r"\.")):
        load_pickled_arrays(path)


def test_arrays_of_objects_are_refused(tmp_path):
    path = pickled(tmp_path / "x.ckpt", {"a": np.array([{}, []], dtype=object)})
    with pytest.raises(WeightsError, match=r"x\.ckpt"):
        load_pickled_arrays(path)
    with pytest.raises(WeightsError, match="dtype 'O8'"):
        PickledDtype("O8").dtype()


def test_an_array_whose_bytes_do_not_fill_its_shape_is_refused(tmp_path):
    honest = pickle.dumps(np.arange(4, dtype=np.int8), protocol=3)
    assert b"K\x04\x85" in honest  # the shape (4,)
    path = tmp_path / "x.ckpt"
    path.write_bytes(honest.replace(b"K\x04\x85", b"K\x09\x85"))
    with pytest.raises(WeightsError, match=r"x\.ckpt is not a readable pickle"):
        load_pickled_arrays(path)


def test_other_content_than_arrays_is_named(tmp_path):
    path = pickled(tmp_path / "x.ckpt", {"net": {"w": np.zeros(1), "note": "hello"}})
    with pytest.raises(WeightsError, match="net/note is a str, expected arrays"):
        load_pickled_arrays(path)


def test_a_caller_names_what_it_allows(tmp_path):
    path = pickled(tmp_path / "x.pkl", OrderedDict(a=1), protocol=2)
    assert restricted_unpickle(path, {"collections.OrderedDict": OrderedDict}) == {"a": 1}
    with pytest.raises(WeightsError, match=r"collections\.OrderedDict"):
        restricted_unpickle(path, {})


# --------------------------------------------------------------------------------------------- state dicts


def test_a_network_is_filled_strictly():
    network = nn.Sequential(nn.Linear(3, 2))
    tensors = {"0.weight": torch.ones(2, 3), "0.bias": torch.zeros(2)}
    check_state_dict(network, tensors, "x.pth")
    assert torch.equal(network[0].weight, tensors["0.weight"])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"0.weight": torch.ones(2, 3)}, r"x\.pth does not fit Sequential: 0\.bias is missing; use"),
        (
            {"0.weight": torch.ones(2, 3), "0.bias": torch.ones(2), "1.bias": torch.ones(2)},
            r"1\.bias is unexpected; use",
        ),
        (
            {"0.weight": torch.ones(3, 2), "0.bias": torch.ones(3)},
            r"0\.weight has shape \(3, 2\) instead of \(2, 3\) \(and 1 more\)",
        ),
    ],
)
def test_the_first_difference_is_named_and_nothing_is_changed(tensors, message):
    network = nn.Sequential(nn.Linear(3, 2))
    before = io.BytesIO()
    torch.save(network.state_dict(), before)
    with pytest.raises(WeightsError, match=message):
        check_state_dict(network, tensors, "x.pth")
    after = io.BytesIO()
    torch.save(network.state_dict(), after)
    assert before.getvalue() == after.getvalue()
