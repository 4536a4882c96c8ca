"""Training: configurations, where weights start, what learns, and that a run that is stopped ends like any other."""

import csv
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from models.ablate import merged, table_of
from models.augment import OF_CORE, OF_FLAIR, SAYS, UNKNOWN_OUTLINE, unchanged
from models.configuring import (
    ABLATIONS,
    CONFIGS,
    Config,
    find_config,
    make_config,
    read_config,
    read_text,
    read_variants,
)
from models.data import Item
from models.learning import freeze, learner, settle_norms
from models.losses import Terms, label_loss, outline_loss
from models.networks import NETWORKS
from models.splits import split_anew
from models.train import figures_of, train
from neurobatch.codes import Code
from neurobatch.errors import Refused
from tests.models.labelled import head, spot, write_picture, write_table

ROOT = Path(__file__).parents[2]
TINY: dict[str, Any] = {
    "network": "mobilenet",
    "profile": "plain",
    "seed": 3,
    "size": 48,
    "sizes": {"alpha": 0.25},
    "average": 0.9,
    "batch": {"lgg_tumour": 2, "lgg_healthy": 2},
    "phases": [
        {"side": 32, "epochs": 1, "steps": 2, "rate": 1e-3, "learns": "none"},
        {"side": 32, "epochs": 3, "steps": 2, "rate": 1e-3},
    ],
}


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    """Eight slices of two patients."""
    rows = []
    for number in range(8):
        mask = spot(48, 27, 10) * (number % 2)
        picture = head() + mask // 3 + number
        write_picture(tmp_path / f"sets/lgg/{number}.png", np.dstack([picture // 2, picture, picture // 3]))
        write_picture(tmp_path / f"sets/lgg/m{number}.png", mask)
        rows.append(
            {
                "patient": f"p{number // 4}",
                "slice": number,
                "file": f"{number}.png",
                "mask": f"m{number}.png",
                "tumour_pixels": int((mask > 0).sum()),
                "split": "train" if number < 4 else "val",
            }
        )
    write_table(tmp_path / "sets/lgg/slices.csv", rows)
    return tmp_path / "sets"


def tiny(sets: Path, out: Path, **others: Any) -> Config:
    return make_config(merged(TINY, others), "tiny.toml", data=sets, out=out, start="random")


def weights(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with h5py.File(file) as content:
        content.visititems(lambda name, item: found.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
    return found


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_configuration_is_readable_and_names_layers_that_are_there(file: Path, tmp_path: Path) -> None:
    config = read_config(file, data=tmp_path, out=tmp_path)
    kind = NETWORKS[config.network]
    for learns in {phase.learns for phase in config.phases}:
        network = kind.build(64, config.sizes)
        freeze(network, kind.donor(64, config.sizes), learns)
        assert network.trainable_variables


@pytest.mark.parametrize("file", sorted(ABLATIONS.glob("*.toml")), ids=lambda file: file.stem)
def test_every_variant_of_an_ablation_is_a_configuration(file: Path, tmp_path: Path) -> None:
    base, variants = read_variants(file)
    assert len(variants) > 1
    for others in variants.values():
        config = make_config(merged(read_text(base), others), file.name, data=tmp_path, out=tmp_path, start="random")
        NETWORKS[config.network].build(64, config.sizes)


@pytest.mark.parametrize(
    "wrong", [{"sead": 1}, {"ranges": {"rotatoin": 3}}, {"phases": [{"side": 32}]}, {"network": None}]
)
def test_a_wrong_configuration_is_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    text = {key: value for key, value in {**TINY, **wrong}.items() if value is not None}
    with pytest.raises(Refused) as refusal:
        make_config(text, "wrong.toml", data=tmp_path, out=tmp_path, start="random")
    assert refusal.value.code == Code.INVALID_FIELD


def test_a_configuration_is_found_by_name_or_path_and_else_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").touch()
    assert find_config("unet", None) == CONFIGS / "unet.toml"
    assert find_config("unet", "unet-gpu") == CONFIGS / "unet-gpu.toml"
    assert find_config("unet", str(tmp_path / "mine.toml")) == tmp_path / "mine.toml"
    with pytest.raises(Refused):
        find_config("unet", "absent")


def test_batch_norms_of_the_backbone_never_learn() -> None:
    kind = NETWORKS["unet"]
    network = kind.build(64)
    freeze(network, kind.donor(64), "all")
    assert not network.get_layer("Conv1").kernel.trainable ^ True
    assert not network.get_layer("bn_Conv1").trainable
    assert network.get_layer("up0_norm").trainable


def small_unet(sets: Path, out: Path) -> tuple[keras.Model, keras.Model]:
    """A U-Net of 32 px, and the model that trains it."""
    kind = NETWORKS["unet"]
    config = tiny(sets, out, network="unet", sizes={})
    network = kind.build(32)
    freeze(network, kind.donor(32), "all")
    return network, learner(network, kind, config, config.phases[0])


def test_batch_norms_get_the_statistics_of_the_weights_as_they_are_now(sets: Path, tmp_path: Path) -> None:
    network, model = small_unet(sets, tmp_path)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D) and layer.name.startswith("up"):
            layer.kernel.assign(layer.kernel * 3)  # as an average may lie far from where the norms saw values
    sources = np.random.default_rng(5).integers(0, 256, (4, 48, 48, 4), np.uint8)
    batch = {"source": sources, "changes": unchanged(4)}
    before = {norm.name: norm.momentum for norm in network.layers if hasattr(norm, "moving_mean")}

    def apart() -> float:
        """Between what the model says of the batch with its own statistics and with those that the norms keep."""
        own, kept = (keras.ops.convert_to_numpy(model(batch, training=training)) for training in (True, False))
        return float(np.abs(own - kept).max())

    kept = network.get_weights()
    assert apart() > 0.05
    network.set_weights(kept)  # looking with its own statistics has moved them
    settle_norms(model, [batch])
    assert apart() < 1e-3
    assert {norm.name: norm.momentum for norm in network.layers if hasattr(norm, "moving_mean")} == before


def test_each_batch_weighs_the_same_in_what_batch_norms_keep(sets: Path, tmp_path: Path) -> None:
    network, model = small_unet(sets, tmp_path)
    batches = [
        {"source": np.full((4, 48, 48, 4), level, np.uint8), "changes": unchanged(4)} for level in (10, 120, 250)
    ]
    norm = network.get_layer("up4_norm")  # it sees the picture itself

    def after(some: list[dict[str, Any]]) -> np.ndarray[Any, np.dtype[Any]]:
        settle_norms(model, some)
        return np.stack(norm.get_weights()[-2:])

    single = [after([batch]) for batch in batches]
    assert np.abs(single[0] - single[2]).max() > 1e-3
    assert np.allclose(after(batches), np.mean(single, axis=0), atol=1e-5)


def test_a_network_whose_norms_are_fixed_is_left_as_it_is(sets: Path, tmp_path: Path) -> None:
    kind = NETWORKS["mobilenet"]
    config = tiny(sets, tmp_path)
    network = kind.build(32, config.sizes)
    freeze(network, kind.donor(32, config.sizes), "all")
    before = network.get_weights()
    settle_norms(learner(network, kind, config, config.phases[0]), [{"nothing": None}])
    assert all(np.array_equal(one, other) for one, other in zip(before, network.get_weights(), strict=True))


def located(sets: Path, out: Path, says: int) -> tuple[keras.Model, dict[str, Any]]:
    """A model that trains a small classifier with outlines too, and a batch of pictures with a tumour each."""
    kind = NETWORKS["mobilenet"]
    config = tiny(sets, out, locates="conv_pw_11_relu")
    sources = np.random.default_rng(5).integers(0, 256, (4, 48, 48, 4), np.uint8)
    sources[..., 3] = spot(24, 14, 8, 48)
    changes = unchanged(4)
    changes[:, SAYS] = says
    model = learner(kind.build(32, config.sizes), kind, config, config.phases[0])
    return model, {"source": sources, "changes": changes}


def loss_of(model: keras.Model, batch: dict[str, Any], places: list[Any]) -> float:
    """Of a batch with labels, where the layer that locates says `places` everywhere."""
    model.get_layer("places").set_weights([np.zeros_like(model.get_layer("places").get_weights()[0]), np.array(places)])
    return float(model.evaluate(batch, np.ones((4, 1), np.float32), batch_size=4, verbose=0))


@pytest.mark.parametrize(("says", "channel"), [(OF_FLAIR, 0), (OF_CORE, 1)])
def test_a_classifier_learns_from_outlines_of_the_definition_that_was_drawn(
    says: int, channel: int, sets: Path, tmp_path: Path
) -> None:
    model, batch = located(sets, tmp_path, says)
    few, many = [-3.0, -3.0], [-3.0, -3.0]
    many[channel] = 3.0  # most of the picture is none
    assert loss_of(model, batch, many) > loss_of(model, batch, few) + 0.1


def test_a_classifier_learns_nothing_from_outlines_that_nobody_drew(sets: Path, tmp_path: Path) -> None:
    model, batch = located(sets, tmp_path, UNKNOWN_OUTLINE)
    assert loss_of(model, batch, [3.0, 3.0]) == pytest.approx(loss_of(model, batch, [-3.0, -3.0]))


def test_a_cell_should_say_how_much_of_it_is_tumour(sets: Path, tmp_path: Path) -> None:
    model, batch = located(sets, tmp_path, OF_CORE)
    changed = model.get_layer("changed")([batch["source"], batch["changes"]])[1]
    shares = np.asarray(keras.ops.convert_to_numpy(model.get_layer("shares")(changed)))
    assert shares.shape == (4, 2, 2, 2)
    assert np.allclose(shares.mean(axis=(1, 2)), np.asarray(keras.ops.convert_to_numpy(changed)).mean(axis=(1, 2)))
    assert 0 < shares[..., 1].max() <= 1


@pytest.mark.parametrize(("network", "layer"), [("unet", "block_6_expand"), ("mobilenet", "nowhere")])
def test_only_a_layer_of_a_classifier_locates(network: str, layer: str, sets: Path, tmp_path: Path) -> None:
    kind = NETWORKS[network]
    config = tiny(sets, tmp_path, network=network, sizes={}, locates=layer)
    with pytest.raises(Refused):
        learner(kind.build(32), kind, config, config.phases[0])


def test_the_top_40_layers_of_a_resnet_learn_and_nothing_below() -> None:
    kind = NETWORKS["resnet50v2"]
    network = kind.build(64)
    freeze(network, kind.donor(64), "top 40")
    assert network.get_layer("conv5_block3_3_conv").trainable
    assert not network.get_layer("conv4_block1_1_conv").trainable
    with pytest.raises(Refused):
        freeze(network, kind.donor(64), "from nowhere")


def items(count: int) -> list[Item]:
    return [
        Item(
            source="lgg", file=Path(f"{n}.png"), mask=None, mask2=None, definition=None, tumour=False,
            group=f"p{n // 10}", split="train", plane="axial", doubtful=False,
        )
        for n in range(count)
    ]  # fmt: skip


def test_a_split_by_group_keeps_patients_together_and_one_by_slice_does_not() -> None:
    parts = (0.75, 0.15, 0.10)
    for by, most in (("group", 1), ("slice", 3)):
        again = split_anew(items(400), by, parts, 1)  # type: ignore[arg-type]  # the two words stand there
        assert [item.split for item in again] == [
            item.split
            for item in split_anew(items(400), by, parts, 1)  # type: ignore[arg-type]  # as above
        ]
        counts = {name: sum(item.split == name for item in again) for name in ("train", "val", "test")}
        assert counts == {"train": 300, "val": 60, "test": 40}
        assert max(len({item.split for item in again if item.group == f"p{k}"}) for k in range(40)) == most


def test_losses_are_least_where_all_is_right_and_ignore_what_is_not_known() -> None:
    rng = np.random.default_rng(0)
    target = (rng.random((2, 8, 8, 2)) > 0.7).astype(np.float32)
    right, wrong = (target * 2 - 1) * 9, (1 - target * 2) * 9
    for terms in (Terms(), Terms(focal=2.0), Terms(missed=0.7)):
        loss = outline_loss(terms)
        assert float(loss(target, right)) < 0.01 < 1 < float(loss(target, wrong))
        unknown = target.copy()
        unknown[:, :4] = -1
        changed = np.where(unknown < 0, -right, right).astype(np.float32)
        assert float(loss(unknown, right)) == pytest.approx(float(loss(unknown, changed)))
    label = label_loss(Terms(smoothing=0.0))
    assert float(label(np.ones((2, 1)), np.full((2, 1), 9.0))) < 0.01 < float(label(np.ones((2, 1)), np.zeros((2, 1))))


def test_with_even_weights_the_overlap_is_dice() -> None:
    target = np.zeros((1, 8, 8, 2), np.float32)
    target[:, :4] = 1
    logits = np.full((1, 8, 8, 2), 50, np.float32)  # all of 64 px, of which 32 are right
    given = float(outline_loss(Terms(entropy=0.0, single=0.0))(target, logits))
    assert given == pytest.approx(1 - (2 * 32 + 1) / (32 + 64 + 1), abs=1e-4)


def test_a_table_of_an_ablation_has_a_line_for_each_part() -> None:
    table = table_of({"a": {"lgg": {"auc": 0.9}}, "b": {"lgg": {"auc": 0.8, "tp": 3}}})
    assert table.splitlines()[2:] == ["| a | lgg | 0.9 | – |", "| b | lgg | 0.8 | 3 |"]


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "log.csv").open(newline="") as stream:
        return [{name: row[name] for name in row if name != "pictures_s"} for row in csv.DictReader(stream)]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 saving on NumPy 2.4
def test_a_run_that_is_stopped_after_each_epoch_ends_like_an_undisturbed_one(sets: Path, tmp_path: Path) -> None:
    whole, halting = tiny(sets, tmp_path / "a" / "whole"), tiny(sets, tmp_path / "b" / "halting", minutes=0.0)
    train(whole, lambda line: None)
    stops = 0
    while not (halting.out / "figures.json").is_file():
        train(halting, lambda line: None)
        stops += 1
    assert stops == 5  # after each of four epochs, and one that finds nothing left to do but to measure
    for one, other in zip(rows_of(whole.out), rows_of(halting.out), strict=True):
        assert {name: float(value) for name, value in one.items()} == pytest.approx(
            {name: float(value) for name, value in other.items()}, abs=1e-3
        )
    last = weights(halting.out / "best.weights.h5")
    for name, values in weights(whole.out / "best.weights.h5").items():
        np.testing.assert_allclose(values, last[name], atol=1e-4)
    assert figures_of(whole.out) == figures_of(halting.out)


PROGRAM = """
import sys, json
from pathlib import Path
from models.configuring import make_config
from models.train import train
text, data, out = json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
train(make_config(text, "tiny.toml", data=data, out=out, start="random"), print)
print("tensorflow" in sys.modules)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 reading on NumPy 2.4
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
@pytest.mark.parametrize("network", ["mobilenet", "unet"])
def test_every_backend_trains_and_writes_the_same_kind_of_file(
    backend: str, network: str, sets: Path, tmp_path: Path
) -> None:
    import json

    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    sizes = {"mobilenet": {"alpha": 0.25}, "unet": {}}[network]
    text = {**TINY, "network": network, "sizes": sizes, "phases": TINY["phases"][:1]}
    text |= {"locates": "conv_pw_11_relu"} if network == "mobilenet" else {}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(text), str(sets), str(tmp_path / backend)],
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client'}"},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    if importlib.util.find_spec("tensorflow") is None:
        assert done.stdout.strip().endswith("False")
    again = NETWORKS[network].build(32, sizes)
    again.load_weights(tmp_path / backend / "best.weights.h5")
    assert all(np.isfinite(keras.ops.convert_to_numpy(variable)).all() for variable in again.variables)


ASKED = """
import sys
from contextlib import suppress
from models.commands import train
from neurobatch.errors import Refused
with suppress(Refused):  # the folder holds no set
    train(["mobilenet", "--data", sys.argv[1], "--out", sys.argv[2]], standalone_mode=False)
import tensorflow
tensorflow.constant(1)
"""


@pytest.mark.parametrize(("asked", "used"), [(None, True), ("0", False)])
def test_training_multiplies_with_onednn_unless_the_user_says_no(asked: str | None, used: bool, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    environment |= {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'client'}", "KERAS_BACKEND": "tensorflow"}
    environment |= {"TF_ENABLE_ONEDNN_OPTS": asked} if asked is not None else {}
    done = subprocess.run(
        [sys.executable, "-c", ASKED, str(tmp_path), str(tmp_path / "out")],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert ("oneDNN custom operations are on" in done.stderr) == used
