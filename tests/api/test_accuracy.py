"""Accuracy on labelled data: scikit-learn's digits, trained ResNet-20 weights, and bad data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from orrery import api
from orrery.accel import resolve
from orrery.api import ModelOptions, TaskOptions
from orrery.cli import main
from orrery.errors import CancelledError, OrreryError
from orrery.evidence import Evidence
from orrery.graph import ArrayConstant, Graph, Node, Region, TensorType, build_model, write_onnx
from orrery.progress import Progress
from orrery.report import Page, Table

FILTERS, BATCH = 8, 20

ONE_DEVICE = """
name: one
description: one board with a systolic array
host: host
source: made-up
sources:
  made-up: {basis: assumed, where: test, note: round numbers}
devices:
  - name: board
    kind: fpga
    designs: ["systolic(rows=32, cols=32)"]
    compute: {macs: {float32: "1 MMAC/s"}, others: "16 Gop/s"}
    memories:
      - {name: dram, offchip: true, size: "1 GiB", bandwidth: "30 GB/s"}
links:
  - {switch: host, ports: ["board"], bandwidth: "4 GB/s", latency: "1 us"}
"""


def features(images: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """Convolve 8×8 images with 3×3 filters, no padding, and cut below zero: [n, 8·6·6]."""
    windows = np.lib.stride_tricks.sliding_window_view(images[:, 0], (3, 3), axis=(1, 2))
    maps = np.einsum("nrcij,fij->nfrc", windows, filters[:, 0])
    return np.maximum(maps, 0).reshape(len(images), -1)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Graph, Path, np.ndarray]:
    """A network for scikit-learn's digits, test data, and the classes it must name.

    Random filters and a ridge regression in closed form on every second image.
    """
    sklearn = pytest.importorskip("sklearn.datasets")
    data = sklearn.load_digits()
    images = (data.images[:, None] / 16).astype(np.float32)
    filters = np.random.default_rng(0).standard_normal((FILTERS, 1, 3, 3)).astype(np.float32)
    train, seen = features(images[::2], filters), np.eye(10)[data.target[::2]] - 0.1
    ridge = train.T @ train + 10.0 * np.eye(train.shape[1])
    weights = np.linalg.solve(ridge, train.T @ seen).astype(np.float32)
    nodes = (
        Node(name="conv", op="Conv", inputs=("image", "filters"), outputs=("maps",),
             attributes={"kernel_shape": (3, 3)}),
        Node(name="relu", op="Relu", inputs=("maps",), outputs=("cut",)),
        Node(name="flatten", op="Flatten", inputs=("cut",), outputs=("flat",)),
        Node(name="fc", op="Gemm", inputs=("flat", "weights"), outputs=("logits",)),
    )  # fmt: skip
    graph = Graph(
        name="digits", nodes=nodes, inputs=("image",), outputs=("logits",),
        types={"image": TensorType(dtype="float32", shape=(BATCH, 1, 8, 8))},
        constants={"filters": ArrayConstant(filters), "weights": ArrayConstant(weights)},
    ).infer()  # fmt: skip
    path = tmp_path_factory.mktemp("digits") / "digits.npz"
    np.savez(path, images=images[1::2], labels=data.target[1::2])
    named = (features(images[1::2], filters) @ weights).argmax(1)
    return graph, path, named


def scored(page: Page, subject: str) -> Evidence:
    assert page.scorecard is not None
    figures = page.scorecard.figures("top-1 accuracy")
    return next(figure for figure in figures if figure.subject == subject)


def judge(model: object, task: TaskOptions, **more: Any) -> Page:
    return api.score(model, task=task, **more)


@pytest.mark.needs("sklearn")
def test_digits_are_named_as_scikit_learn_counts_it(
    digits: tuple[Graph, Path, np.ndarray],
) -> None:
    from sklearn.metrics import accuracy_score

    graph, path, named = digits
    labels = np.load(path)["labels"]
    wanted = accuracy_score(labels, named)
    figure = scored(judge(graph, TaskOptions(data=str(path))), "digits in float32")
    assert figure.value == pytest.approx(100 * wanted)
    assert 0.9 < wanted < 1
    assert figure.interval is not None and figure.interval[0] < figure.value < figure.interval[1]
    assert figure.source.basis.value == "measured"
    assert figure.context["dataset"] == "digits.npz" and len(figure.context["dataset_hash"]) == 40
    assert figure.context["samples"] == f"{len(labels)} of {len(labels)}"


@pytest.mark.needs("sklearn", "onnxruntime")
def test_a_plan_answers_as_its_designs_compute_batch_by_batch(
    digits: tuple[Graph, Path, np.ndarray], tmp_path: Path
) -> None:
    """The judge walks batches itself: the design's convolution, then NumPy."""
    graph, path, _ = digits
    system, data = tmp_path / "one.yaml", np.load(path)
    system.write_text(ONE_DEVICE)
    page = judge(graph, TaskOptions(data=str(path), numerics=("winograd(tile=2)",)),
                 on=str(system), needs=["top-1 accuracy>90%"])  # fmt: skip
    weights = graph.constants["weights"].array()
    for design, subject in (
        ("systolic(rows=32, cols=32)", "digits on one"),
        ("winograd(tile=2)", "digits by winograd(tile=2)"),
    ):
        right = 0
        for first in range(0, len(data["labels"]), BATCH):
            images, labels = (data[k][first : first + BATCH] for k in ("images", "labels"))
            whole = np.resize(images, (BATCH, *images.shape[1:]))
            maps = resolve(design).evaluate(Region(graph=graph, nodes=("conv",)), {"image": whole})
            logits = np.maximum(maps["maps"], 0).reshape(BATCH, -1) @ weights
            right += int((logits[: len(labels)].argmax(1) == labels).sum())
        figure = scored(page, subject)
        assert figure.value == pytest.approx(100 * right / len(data["labels"]))
        assert figure.context["precision"] == "fixed16 and float32"
        assert "lost" in figure.context["points against float32"]
        assert design in figure.source.note or "winograd(tile=2" in figure.source.note
    assert page.scorecard is not None
    assert all(f.value is not None for f in page.scorecard.metric("accuracy").figures)
    assert [verdict.status for verdict in page.verdicts] == ["pass"]
    table = page.sections[0]
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == [
        "float32 (onnxruntime)", "as planned", "winograd(tile=2)",
    ]  # fmt: skip


@pytest.mark.needs("sklearn")
def test_drawn_samples_are_the_seed_s_and_said(digits: tuple[Graph, Path, np.ndarray]) -> None:
    graph, path, named = digits
    right = named == np.load(path)["labels"]
    for seed in (0, 1):
        task = TaskOptions(data=str(path), samples=33, seed=seed)
        figure = scored(judge(graph, task), "digits in float32")
        chosen = np.random.default_rng(seed).choice(len(right), 33, replace=False)
        assert figure.value == pytest.approx(100 * right[chosen].mean())
        assert figure.context["samples"] == f"33 of {len(right)}, drawn with seed {seed}"


@pytest.mark.needs("sklearn")
def test_bytes_of_images_are_scaled_and_colours_brought_forward(tmp_path: Path) -> None:
    graph = build_model("resnet20", image=8, width=0.25, depth=0.2, batch=3)
    bytes_ = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), np.uint8)
    labels = np.arange(7)
    mean, std = np.array([0.5, 0.25, 0.125]), np.array([0.25, 0.5, 0.125])
    floats = ((bytes_ / 255 - mean) / std).astype(np.float32).transpose(0, 3, 1, 2)
    values = []
    for number, image in enumerate((bytes_, floats)):
        path = tmp_path / f"{number}.npz"
        np.savez(path, image=image, labels=np.eye(10)[labels])
        task = TaskOptions(data=str(path), metric="mse")
        if number == 0:
            task = TaskOptions(data=str(path), metric="mse", mean="0.5,0.25,0.125",
                               std="0.25,0.5,0.125")  # fmt: skip
        card = judge(graph, task).scorecard
        assert card is not None
        values.append(card.figures("mean squared error")[0])
    assert values[0].value == pytest.approx(values[1].value, rel=1e-4)
    assert values[0].interval is None  # too few
    assert "minus 0.5, 0.25, 0.125" in values[0].context["preprocessing"]


@pytest.mark.shared_data
@pytest.mark.needs("onnxruntime")
def test_trained_weights_reach_the_accuracy_that_others_measured(shared_data: Path) -> None:
    folder = shared_data / "cifar10"
    options = ModelOptions(batch=100, weights=str(folder / "resnet20.safetensors"))
    task = TaskOptions(data=str(folder / "test2000.npz"))
    page = judge("resnet20", task, options=options)
    figure = scored(page, "resnet20 in float32")
    assert figure.value == pytest.approx(81.35)
    assert "assumed" in figure.context["preprocessing"]


@pytest.mark.shared_data
@pytest.mark.needs("onnxruntime")
def test_a_design_on_trained_weights_keeps_most_answers(
    shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shared_data / "cifar10"
    assert main([
        "score", "resnet20", "--weights", str(folder / "resnet20.safetensors"), "--data",
        str(folder / "test2000.npz"), "--metric", "top5", "--samples", "20", "--batch", "20",
        "--numerics", "systolic", "--need", "top-5 accuracy>80%",
    ]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert all(text in said for text in (
        "19 nodes on systolic(rows=32", "Wilson", "20 of 2000, drawn with seed 0", "measured",
    ))  # fmt: skip


def test_a_user_may_stop_it(tmp_path: Path) -> None:
    graph = build_model("resnet20", image=8, width=0.25, depth=0.2)
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 3, 8, 8), np.float32), y=np.arange(4))
    with pytest.raises(CancelledError):
        judge(graph, TaskOptions(data=str(tmp_path / "x.npz")),
              progress=Progress(cancelled=lambda: True))  # fmt: skip


GOOD: dict[str, Any] = {"image": np.zeros((6, 3, 8, 8), np.float32), "labels": np.arange(6)}
NAN = np.where(np.arange(6)[:, None, None, None] == 4, np.nan, GOOD["image"])

BAD: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "no labels": ({"labels": None}, {}, ["x.npz: labels", "an array 'labels'"]),
    "no input": ({"image": None}, {}, ["6 samples of image"]),
    "two inputs": ({"image": None, "a": NAN, "b": NAN}, {}, ["6 samples of image", "a float32"]),
    "empty": ({"image": np.zeros((0, 3, 8, 8)), "labels": np.arange(0)}, {}, ["at least one"]),
    "fewer labels": ({"labels": np.arange(5)}, {}, ["6, 3, 8, 8", "as many samples as labels"]),
    "shape": ({"image": np.zeros((6, 3, 9, 9))}, {}, ["[3, 9, 9]", "[3, 8, 8]", "colours last"]),
    "type": ({"image": np.zeros((6, 3, 8, 8), np.int32)}, {}, ["int32", "bytes of images"]),
    "nan": ({"image": NAN}, {}, ["NaN or infinity in sample 4"]),
    "labels high": ({"labels": np.arange(6) + 5}, {}, ["5 to 10", "0 to 9"]),
    "labels low": ({"labels": np.arange(6) - 1}, {}, ["-1 to 4", "0 to 9"]),
    "labels float": ({"labels": np.zeros(6)}, {}, ["float64", "whole numbers"]),
    "labels one-hot": ({"labels": np.eye(10)[:6]}, {}, ["[6, 10]", "reshape the labels"]),
    "mse of classes": ({}, {"metric": "mse"}, ["int64[6]", "[10] a sample"]),
    "mse nan": ({"labels": np.full((6, 10), np.nan)}, {"metric": "mse"}, ["finite numbers"]),
    "metric": ({}, {"metric": "top2"}, ["top1", "perplexity"]),
    "too many": ({}, {"samples": 7}, ["--samples", "1 to 6"]),
    "none": ({}, {"samples": 0}, ["--samples", "1 to 6"]),
    "seed": ({}, {"seed": -1}, ["--seed"]),
    "mean": ({}, {"mean": "a,b"}, ["--mean", "commas"]),
    "mean of floats": ({}, {"mean": "0.5", "std": "1"}, ["taken as they are"]),
    "deviation": (
        {"image": np.zeros((6, 8, 8, 3), np.uint8)}, {"mean": "0", "std": "0"}, ["above zero"],
    ),
    "colours": (
        {"image": np.zeros((6, 8, 8, 3), np.uint8)}, {"mean": "0,0", "std": "1,1"},
        ["one number or 3"],
    ),
    "design": ({}, {"numerics": ("sistolic",)}, ["systolic"]),
    "no data": ({}, {"data": None, "samples": 3}, ["a task without data"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_data_are_refused_with_what_would_be_right(case: str, tmp_path: Path) -> None:
    graph = build_model("resnet20", image=8, width=0.25, depth=0.2, batch=2)
    arrays, options, said = BAD[case]
    path = tmp_path / "x.npz"
    np.savez(path, **{k: v for k, v in {**GOOD, **arrays}.items() if v is not None})
    with pytest.raises(OrreryError) as refused:
        judge(graph, TaskOptions(**{"data": str(path), **options}))
    assert all(text in str(refused.value) for text in said), str(refused.value)


NETWORKS: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "states": ("gpt2-124m", {"layers": 1, "hidden": 32, "heads": 4, "vocabulary": 50,
                             "phase": "decode", "context": 4}, ["states", "--phase decode"]),
    "five classes": ("resnet20", {"image": 8, "classes": 5, "width": 0.25}, ["more than five"]),
}  # fmt: skip


@pytest.mark.parametrize("case", NETWORKS)
def test_networks_that_no_metric_fits_are_refused(case: str, tmp_path: Path) -> None:
    name, options, said = NETWORKS[case]
    path = tmp_path / "x.npz"
    np.savez(path, image=GOOD["image"], labels=np.zeros(6, np.int64))
    with pytest.raises(OrreryError) as refused:
        judge(build_model(name, **options), TaskOptions(data=str(path), metric="top5"))
    assert all(text in str(refused.value) for text in said), str(refused.value)


def test_a_language_model_s_perplexity_on_tokens(tmp_path: Path) -> None:
    """With seeded weights it knows nothing: about as many choices as there are words."""
    graph = build_model("gpt2-124m", layers=1, hidden=32, heads=4, vocabulary=50, context=6,
                        all_logits=True)  # fmt: skip
    tokens = np.random.default_rng(0).integers(0, 50, (4, 7))
    path = tmp_path / "x.npz"
    np.savez(path, input_ids=tokens[:, :-1], labels=tokens[:, 1:])
    card = judge(graph, TaskOptions(data=str(path), metric="perplexity")).scorecard
    assert card is not None
    value = card.figures("perplexity")[0].value
    logits = np.concatenate(
        [graph.evaluate({"input_ids": row[None, :-1]})["logits"] for row in tokens]
    ).astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    right = np.take_along_axis(chances, tokens[:, 1:, None], -1)
    assert value == pytest.approx(float(np.exp(-np.log(right).mean())), rel=1e-4)
    np.savez(path, input_ids=tokens[:, :-1] + 40, labels=tokens[:, 1:])
    with pytest.raises(OrreryError, match="0 to 49"):
        judge(graph, TaskOptions(data=str(path), metric="perplexity"))


def test_the_command_says_what_it_misses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = build_model("resnet20", image=8, width=0.25, depth=0.2)
    write_onnx(graph, tmp_path / "net.onnx")
    assert main(["score", str(tmp_path / "net.onnx"), "--data", str(tmp_path / "no.npz")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert main(["score", "resnet20", "--samples", "3"]) == 2
    assert "--data" in capsys.readouterr().err
    np.savez(tmp_path / "x.npz", **GOOD)
    assert main(["score", str(tmp_path / "net.onnx"), "--data", str(tmp_path / "x.npz")]) == 0
    assert "6 of 6" in capsys.readouterr().out
