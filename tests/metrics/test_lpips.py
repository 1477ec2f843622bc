"""LPIPS: the network in closed form, and the published numbers where the real weights can be had."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from official_files import lpips_file

from syncdiff_bench.contracts import Clip, Frames, Media, Pair, Runtime
from syncdiff_bench.errors import ClipError, WeightsError
from syncdiff_bench.networks.lpips import LPIPSNetwork, load_lpips
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_metrics import lpips as lpips_module
from syncdiff_metrics.lpips import LPIPS, LPIPSOptions
from syncdiff_metrics.regions import FrameSum

EXAMPLE = Path(__file__).parents[1] / "data" / "official" / "lpips_example"


@pytest.fixture
def store(tmp_path) -> WeightsStore:
    """A store that holds random weights under the name of the real ones."""
    entry = Entry("lpips-alex", "alex.ckpt", "random", "none", "nowhere")
    lpips_file(tmp_path / entry.file)
    return WeightsStore(tmp_path, Catalogue({entry.name: entry}))


def pictures(n: int, side: int, seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


def pair(generated: Frames, reference: Frames) -> Pair:
    clips = [Clip("a", "test", preloaded=Media(f, np.zeros(0, np.int16))) for f in (generated, reference)]
    return Pair(*clips)


def test_the_first_layer_written_out(tmp_path):
    """With heads of one on stage 0 alone LPIPS is the mean squared distance of unit-length features."""
    network = load_lpips("alex", lpips_file(tmp_path / "alex.ckpt"))
    network.heads[0].data.fill_(1)
    for head in network.heads[1:]:
        head.data.zero_()
    content = pickle.loads((tmp_path / "alex.ckpt").read_bytes())["AlexNet_0"]["Conv_0"]
    mean, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    units = []
    frames = pictures(2, 39)
    for frame in frames:
        padded = np.pad((frame / 127.5 - 1 - mean) / scale, ((2, 2), (2, 2), (0, 0)))
        rows = [
            [np.einsum("yxc,yxco->o", padded[y : y + 11, x : x + 11], content["kernel"]) for x in range(0, 33, 4)]
            for y in range(0, 33, 4)
        ]
        features = np.maximum(np.array(rows) + content["bias"], 0)
        units.append(features / np.linalg.norm(features, axis=-1, keepdims=True))
    expected = np.square(units[0] - units[1]).sum(axis=-1).mean()
    a, b = (torch.tensor(f[None] / 127.5 - 1, dtype=torch.float32).permute(0, 3, 1, 2) for f in frames)
    assert network(a, b).item() == pytest.approx(expected, rel=1e-4)


def test_equal_frames_are_at_distance_0_and_order_does_not_matter(store):
    metric = LPIPS(runtime=Runtime(weights=store))
    a, b = pictures(3, 96, 1), pictures(3, 96, 2)
    assert metric.distances(a, a).max() == 0
    np.testing.assert_allclose(metric.distances(a, b), metric.distances(b, a), rtol=1e-5)
    assert metric.distances(a, b).min() > 0


def test_batches_do_not_change_a_frame(store, monkeypatch):
    metric = LPIPS(runtime=Runtime(weights=store))
    a, b = pictures(5, 64, 1), pictures(5, 64, 2)
    together = metric.distances(a, b)
    monkeypatch.setattr(lpips_module, "BATCH_PIXELS", 2 * 64 * 64)
    np.testing.assert_allclose(metric.distances(a, b), together, rtol=1e-5)


def test_statistics_of_a_pair(store):
    metric = LPIPS(LPIPSOptions(region="full"), Runtime(weights=store))
    a, b = pictures(3, 64, 1), pictures(4, 64, 2)
    stats = metric.measure(pair(a, b))
    assert stats.frames == 3
    assert stats.total == pytest.approx(metric.distances(a, b[:3]).sum(), rel=1e-6)
    assert metric.aggregate([FrameSum(0.2, 1), FrameSum(0.4, 3)])["lpips"] == pytest.approx(0.15)
    assert metric.aggregate([]) == {"lpips": None}
    (used,) = metric.weights_used()
    assert (used.name, used.sha256) == ("lpips-alex", store.digest("lpips-alex"))


def test_a_frame_below_the_networks_grain_fails_the_clip(store):
    tiny, enough = pictures(1, 30), pictures(1, 31)
    metric = LPIPS(LPIPSOptions(region="full"), Runtime(weights=store))
    assert metric.measure(pair(enough, enough)).frames == 1
    with pytest.raises(ClipError, match="30x30 is below the 31 pixels") as caught:
        metric.measure(pair(tiny, tiny))
    assert caught.value.kind == "size"


def test_weights_of_another_network_are_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"VGG16_0/.* is no part of LPIPS with alex"):
        load_lpips("alex", lpips_file(tmp_path / "vgg.ckpt", scope="VGG16_0"))
    with pytest.raises(WeightsError, match=r"mixed\.ckpt does not fit .*: convs\.5\.weight is missing"):
        load_lpips("vgg", lpips_file(tmp_path / "mixed.ckpt", scope="VGG16_0"))


@pytest.fixture(scope="module")
def real_store() -> WeightsStore:
    store = WeightsStore()
    try:
        for name in ("lpips-alex", "lpips-vgg"):
            store.ensure(name)
    except WeightsError as error:
        pytest.skip(str(error))
    return store


@pytest.mark.parametrize(("net", "published"), [("alex", (0.7219, 0.1376)), ("vgg", (0.5686, 0.4217))])
def test_published_distances_of_the_example_pictures(real_store, net, published):
    from skimage.io import imread

    reference, first, second = (imread(EXAMPLE / f"{name}.png")[None] for name in ("ex_ref", "ex_p0", "ex_p1"))
    metric = LPIPS(LPIPSOptions(net=net), Runtime(weights=real_store))
    distances = [metric.distances(reference, other)[0] for other in (first, second)]
    np.testing.assert_allclose(distances, published, atol=1e-4)


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_agreement_with_the_lpips_package(real_store, net):
    """Its linear heads against ours; it brings no convolutions, so ours are put into it."""
    try:
        import lpips as package
    # With a torchvision that does not fit torch it dies on import in its own way.
    except Exception as error:
        pytest.skip(f"lpips does not import here: {error}")
    official = package.LPIPS(net=net, pnet_rand=True, verbose=False).eval()
    network = load_lpips(net, real_store.path(f"lpips-{net}"))
    theirs = [module for module in official.net.modules() if isinstance(module, torch.nn.Conv2d)]
    for conv, ours in zip(theirs, network.convs, strict=True):
        conv.load_state_dict(ours.state_dict())
    a, b = (torch.tensor(pictures(2, 96, seed) / 127.5 - 1).float().permute(0, 3, 1, 2) for seed in (1, 2))
    with torch.no_grad():
        torch.testing.assert_close(official(a, b).flatten(), network(a, b), rtol=1e-5, atol=1e-6)


def test_the_networks_have_the_published_sizes():
    counts = {net: sum(p.numel() for p in LPIPSNetwork(net).parameters()) for net in ("alex", "vgg")}
    # convolutions of torchvision's alexnet and vgg16, and one weight per channel that LPIPS reads
    assert counts == {"alex": 2_469_696 + 1_152, "vgg": 14_714_688 + 1_472}


def test_pairs_measured_together_score_as_alone(store):
    metric = LPIPS(LPIPSOptions(region="full"), Runtime(weights=store))
    sizes = [(3, 64), (5, 64), (2, 48), (1, 64)]
    pairs = [pair(pictures(n, side, seed), pictures(n, side, 10 + seed)) for seed, (n, side) in enumerate(sizes)]
    for together, one in zip(metric.measure_many(pairs), pairs, strict=True):
        alone = metric.measure(one)
        assert together.frames == alone.frames
        assert together.total == pytest.approx(alone.total, rel=1e-6)


def test_a_pair_that_cannot_be_measured_costs_its_mates_nothing(store):
    metric = LPIPS(LPIPSOptions(region="full"), Runtime(weights=store))
    good, tiny = pair(pictures(2, 64, 1), pictures(2, 64, 2)), pair(pictures(2, 16), pictures(2, 16))
    found = metric.measure_many([tiny, good])
    assert isinstance(found[0], ClipError)
    assert found[1].total == pytest.approx(metric.measure(good).total, rel=1e-6)
    assert metric.measure_many([]) == []
