from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from qutils import zoo
from qutils.cli.commands.models import read_model
from qutils.errors import DataError, InvalidInputError

pytestmark = pytest.mark.usefixtures("folder")


def weights(offset: float) -> dict[str, torch.Tensor]:
    return {k: v + offset for k, v in read_model("nets.py:tiny").state_dict().items()}


WRAPPED = {
    "w.pt": lambda state: state,
    "lightning.pt": lambda state: {"state_dict": state, "epoch": 3},
    "tutorial.pt": lambda state: {"epoch": 3, "model_state_dict": state},
    "parallel.pt": lambda state: {f"module.{name}": value for name, value in state.items()},
    "compiled.pt": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
}


@pytest.mark.parametrize("name", ["w.safetensors", *WRAPPED])
def test_weights_are_read(name):
    state = weights(1.0)
    if name.endswith(".safetensors"):
        save_file(state, name)
    else:
        torch.save(WRAPPED[name](state), name)
    loaded = read_model("nets.py:tiny", Path(name)).state_dict()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt"])
def test_weights_of_another_model_are_refused(name):
    state = {"0.weight": torch.zeros(4, 1, 5, 5)}
    torch.save(state, name) if name == "w.pt" else save_file(state, name)
    with pytest.raises(DataError, match="does not fit Sequential"):
        read_model("nets.py:tiny", Path(name))


def test_only_some_of_the_tensors_that_do_not_fit_are_listed():
    torch.save({f"layer{i}": torch.zeros(1) for i in range(50)}, "w.pt")
    with pytest.raises(DataError, match='"layer0", "layer1", "layer2" and 47 more'):
        read_model("nets.py:tiny", Path("w.pt"))


def test_a_file_without_state_dict_says_what_it_holds():
    torch.save({"net": weights(0.0), "epoch": 3}, "w.pt")
    with pytest.raises(DataError, match=r"holds no state dict \(it holds net, epoch\)"):
        read_model("nets.py:tiny", Path("w.pt"))


class Harm:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return Path.touch, (Path("harm"),)


@pytest.mark.parametrize("write", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o, 2))])
def test_pickles_are_refused_and_not_executed(write, quantize):
    write({"0.weight": Harm()}, Path("w.pt"))
    result = quantize("nets.py:tiny", "old.onnx", "--data", "data.npz", "--weights", "w.pt")
    assert result.exit_code == 1
    assert "is refused" in result.output
    assert "torch.save(model.state_dict(), path)" in result.output
    assert not Path("harm").exists()
    assert Path("old.onnx").read_bytes() == b"earlier result"


def test_truncated_weights_are_named():
    torch.save(weights(0.0), "w.pt")
    Path("w.pt").write_bytes(Path("w.pt").read_bytes()[:500])
    with pytest.raises(DataError, match="w.pt is corrupt or truncated"):
        read_model("nets.py:tiny", Path("w.pt"))


@pytest.mark.parametrize("source", ["import no_such_module", "def (", "raise SystemExit(3)"])
def test_file_that_cannot_be_imported_is_named(source):
    Path("broken.py").write_text(source)
    with pytest.raises(InvalidInputError, match="broken.py cannot be imported"):
        read_model("broken.py:net")


def test_file_may_import_what_lies_beside_it():
    Path("more_nets.py").write_text("from nets import tiny\nnet = tiny()\n")
    assert isinstance(read_model("more_nets.py:net"), torch.nn.Sequential)


def test_weights_go_into_what_a_wrapper_holds(folder):
    with (folder / "nets.py").open("a") as file:
        file.write("\ndef wrapped():\n    return torch.compile(nn.DataParallel(tiny()))\n")
    saved = zoo.save(read_model("nets.py:tiny"), folder / "plain.safetensors")
    model = read_model("nets.py:wrapped", saved)
    plain = read_model("nets.py:tiny", saved)
    assert type(model) is type(plain)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in plain.state_dict().items())
