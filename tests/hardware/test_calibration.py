"""Calibrated devices as YAML: what is written is read again, what contradicts itself is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from orrery.errors import SpecError
from orrery.hardware import Calibration, System, load_system, read_system_text, write_system
from orrery.provenance import Basis, Source

SOURCE = Source(basis=Basis.MEASURED, where="test bench")
FIELDS = {
    "mac_share": {"convolution": 0.4, "matrix-product": 1.0}, "others_share": 0.3,
    "bandwidth_share": 0.6, "overhead_s": 2e-6, "low_ratio": 0.8, "high_ratio": 1.3,
    "interval_share": 0.8, "left_out_error": 0.1,
}  # fmt: skip


def made(**changes: object) -> Calibration:
    fields = {**FIELDS, **changes}
    return Calibration(**fields, sources=dict.fromkeys(fields, SOURCE))  # type: ignore[arg-type]


def with_calibration(calibration: Calibration | None) -> System:
    system = load_system("desktop-cpu")
    device = replace(system.devices[0], calibration=calibration)
    return replace(system, devices=(device,))


def test_what_is_written_is_read_again() -> None:
    system = with_calibration(made())
    assert read_system_text(write_system(system)) == system


def test_only_a_calibration_changes_what_plans_were_made_for() -> None:
    digests = {with_calibration(c).digest for c in (None, made(), made(overhead_s=3e-6))}
    assert len(digests) == 3
    assert load_system("desktop-cpu").digest in digests


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"others_share": 1.2}, "1.2 of the peak, wanted at most all of it"),
        ({"mac_share": {"convolution": 2.0}}, "macs.convolution"),
        ({"overhead_s": -1.0}, "a finite number above zero"),
        ({"low_ratio": 1.4}, "the lower end first"),
        ({"interval_share": None}, "low, high and confidence"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(SpecError) as error:
        made(**changes)
    assert said in str(error.value).replace("'", "")


def test_bad_keys_of_a_file_are_refused_with_the_line() -> None:
    text = write_system(with_calibration(made()))
    for before, after, said in (
        ("convolution:", "convolutions:", "did you mean 'convolution'"),
        ("overhead:", "overheads:", "did you mean 'overhead'"),
        ("0.6 x", "0.6", "a ratio with a unit"),
    ):
        with pytest.raises(SpecError) as error:
            read_system_text(text.replace(before, after, 1), "own.yaml")
        assert said in str(error.value)
        assert "own.yaml:" in str(error.value)
