from __future__ import annotations

from dataclasses import replace

from qutils.integer import RULES
from qutils.lab.studies import parity
from qutils.lab.studies.parity import tables, words


def test_rows_say_what_ran_it(found):
    rows = parity.rows(found)
    assert [(row.execution, row.runtime) for row in rows] == [
        ("simulated", "torch"), ("integer", "onnxruntime"), ("integer", "inductor"),
    ]  # fmt: skip
    assert rows[0].metrics["layers_departing"] == 1
    assert rows[1].metrics["output_sqnr_db"] is None  # no noise: infinite
    assert rows[2].metrics["layers_compared"] is None


def test_every_executor_has_to_agree_and_the_exact_one_to_be_equal(found):
    checks = {check.name.partition(": ")[2]: check for check in parity.checks(found, "full")}
    assert {name: (check.target, check.passed) for name, check in checks.items()} == {
        "simulation, same prediction as the integer reference": (99.99, True),
        "onnxruntime, same prediction as the integer reference": (99.9, True),
        "onnxruntime, outputs equal to the integer reference's": (100.0, True),
        "inductor, same prediction as the integer reference": (99.9, False),
    }
    note = checks["simulation, same prediction as the integer reference"].note
    assert note == "1 of 3 layers departs: stage1.conv1 (conv2d, 3 of 10,000 integers)"
    assert all(check.passed is None for check in parity.checks(found, "smoke"))


def test_sentences_name_the_layers(found):
    lines = words.of_departures(found).splitlines()
    assert lines[0].endswith("stage1.conv1 (conv2d, 3 of 10,000 integers), by 1 step at the most.")
    assert lines[1].endswith("all 4 layers equal in every integer.")
    assert lines[2].endswith(
        "no inner tensors are handed out, so that only the output can be compared."
    )


def test_a_layer_has_one_place_whoever_tells_of_it(found):
    table = tables.layers(found)
    assert table.groupby("layer")["place"].nunique().max() == 1
    assert list(table["layer"].drop_duplicates()) == [
        "stem.0", "stage1.conv1", "stage1.conv2", "pool",
    ]  # fmt: skip
    simulated = table[table["executor"] == "simulation"].set_index("layer")
    assert simulated.loc["stage1.conv2", "own_differs"] == 0
    assert simulated.loc["stage1.conv2", "differs"] > 0


def test_outputs_are_told_in_steps(found):
    table = tables.output_table(found)
    assert list(table["largest difference [steps]"]) == [7, 0, 90]
    assert list(table["SQNR [dB]"]) == ["47.0", "no error", "35.2"]
    assert list(table["layers that depart"]) == ["1 of 3", "0 of 4", "not told"]
    assert list(tables.kernel_table(found)["executed"]) == ["1 QGemm"]


def test_reasons_name_the_rule_and_the_tie(found):
    second = list(RULES)[1]
    lines = words.of_reasons(found).splitlines()
    assert lines[0] == (
        "- **resnet8, simulation**: 3 of 20,000 integers differ, at most 2.0e-07 steps from a tie: "
        f"the last bits of a float decide there. The rule *{second}* gives all of them."
    )
    assert lines[1] == "- **resnet8, onnxruntime**: none of 10,000 integers differs."
    assert len(lines) == 2
    (row,) = tables.reason_table(found).to_dict("records")
    assert (row["rule that gives most"], row["unlike that rule's"]) == (second, 0)
    assert row["unlike the reference's"] == 3


def test_what_lies_far_from_a_tie_is_not_put_down_to_floats(found):
    far = replace(found[0].departures[0], from_tie=0.4)
    line = words.of_reasons([replace(found[0], departures=(far,))])
    assert line.endswith("more than the order of float operations is at work.")
