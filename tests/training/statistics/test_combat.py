"""ComBat: neuroCombat's values, and what a patient of another scanner keeps."""

from __future__ import annotations

import numpy as np
import pytest

from training.statistics.combat import fit_combat

NEUROCOMBAT = """
from neuroCombat import neuroCombat   # 0.2.12
i, j = np.arange(30)[:, None], np.arange(1, 7)[None]
batch = np.array(["A"] * 12 + ["B"] * 18)
second = (batch == "B")[:, None]
values = 10 * j + np.sin(3 * i * j) * (1 + 0.5 * second * (j / 6)) + second * 0.7 * np.cos(j)
neuroCombat(dat=values.T, covars=pd.DataFrame({"batch": batch}), batch_col="batch")["data"].T[[0, 11, 12, 29]]
"""
EXPECTED = [
    [
        10.131549794448441,
        20.457417352708465,
        29.74143049849656,
        39.71884873221361,
        50.06464240123028,
        60.546461770099455,
    ],
    [
        11.214635557327524,
        20.419324407490762,
        28.570700012553136,
        39.78258691287736,
        51.29608744763007,
        60.44490371567275,
    ],
    [
        9.334984807607778,
        19.86491499062605,
        30.470364049098986,
        39.093894629056145,
        49.1546481830861,
        61.326091759018034,
    ],
    [
        9.498678035897544,
        18.66713185257616,
        29.183376030606624,
        40.43448378457258,
        51.379436021217806,
        61.03841967996094,
    ],
]


def drawn() -> tuple[np.ndarray, list[str]]:
    """The values of the script."""
    i, j = np.arange(30)[:, None], np.arange(1, 7)[None]
    batch = ["A"] * 12 + ["B"] * 18
    second = (np.array(batch) == "B")[:, None]
    return 10 * j + np.sin(3 * i * j) * (1 + 0.5 * second * (j / 6)) + second * 0.7 * np.cos(j), batch


def test_values_are_neurocombat_s() -> None:
    values, batch = drawn()
    found = fit_combat(values, batch).apply(values, batch)
    assert found[[0, 11, 12, 29]] == pytest.approx(np.array(EXPECTED), abs=1e-10)


def test_a_planted_shift_and_scale_are_taken_out_of_patients_who_were_not_fitted_on() -> None:
    rng = np.random.default_rng(1)
    true = rng.normal(size=(400, 50))
    batch = ["A", "B"] * 200
    second = (np.array(batch) == "B")[:, None]
    seen = np.where(second, 1.8 * true + 3.0, true)
    fit = fit_combat(seen[:200], batch[:200])
    new, whose = fit.apply(seen[200:], batch[200:]), np.array(batch[200:])
    difference = new[whose == "A"].mean(axis=0) - new[whose == "B"].mean(axis=0)
    assert abs(difference).mean() < 0.35
    assert abs(seen[200::2].mean(axis=0) - seen[201::2].mean(axis=0)).mean() > 2.5
    assert new[whose == "B"].std() / new[whose == "A"].std() == pytest.approx(1.0, abs=0.05)


def test_a_patient_of_a_scanner_that_it_does_not_know_keeps_their_values() -> None:
    values, batch = drawn()
    fit = fit_combat(values, [*batch[:-1], None])
    assert np.array_equal(fit.apply(values[:2], ["C", None]), values[:2])


def test_one_scanner_alone_or_few_patients_are_refused() -> None:
    values, batch = drawn()
    with pytest.raises(ValueError, match=r"fewer than two batches have 10 training patients.*\(A 30\)"):
        fit_combat(values, ["A"] * 30)
    with pytest.raises(ValueError, match=r"fewer than two batches have 10 training patients.*\(A 21, B 9\)"):
        fit_combat(values, ["A"] * 21 + ["B"] * 9)
    with pytest.raises(ValueError, match="does not vary"):
        fit_combat(np.ones_like(values), batch)


def test_a_batch_that_is_too_small_is_left_out_and_named() -> None:
    values, batch = drawn()
    fit = fit_combat(np.concatenate([values, values[:4] + 9]), [*batch, *["C"] * 4])
    assert (fit.batches, fit.left_out) == (("A", "B"), {"C": 4})
    assert fit.apply(values, batch) == pytest.approx(fit_combat(values, batch).apply(values, batch), abs=1e-12)
