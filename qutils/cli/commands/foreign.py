"""Files of other formats than MODEL takes: what each is, and how to come to one that it takes."""

from __future__ import annotations

from pathlib import Path

from qutils.errors import InvalidInputError

_TF2ONNX = "Convert it to ONNX (pip install tensorflow tf2onnx): python -m tf2onnx.convert"
_WEIGHTS = (
    "is a file of weights, which do not say what the network computes. Name the module as well: "
    "path/to/file.py:NAME --weights {file}"
)
#: What to do about a file, by its ending; ``{file}`` is its name, ``{onnx}`` and ``{folder}`` are
#: names of what is made of it.
FORMATS: dict[str, str] = {
    ".tflite": f"is a TensorFlow Lite file. {_TF2ONNX} --tflite {{file}} --output {{onnx}}",
    ".h5": f"is a Keras file. {_TF2ONNX} --keras {{file}} --output {{onnx}}",
    ".keras": (
        'is a Keras file. Save it as a SavedModel: python -c "import keras; '
        f"keras.saving.load_model('{{file}}').export('{{folder}}')\". {_TF2ONNX} "
        "--saved-model {folder} --output {onnx}"
    ),
    ".pb": (
        f"is a TensorFlow graph. {_TF2ONNX} --graphdef {{file}} --inputs NAME:0 --outputs NAME:0 "
        "--output {onnx}; of a SavedModel: --saved-model FOLDER --output {onnx}"
    ),
    ".mlmodel": (
        "is a Core ML file, for which no maintained converter to ONNX exists. Export the model "
        "that it was converted from: path/to/file.py:NAME, or an ONNX file"
    ),
    ".pt": (
        "is a file of PyTorch. If it holds a state dict, name the module as well: "
        "path/to/file.py:NAME --weights {file}. If it holds a TorchScript program, export it: "
        "python -c \"import torch; torch.onnx.export(torch.jit.load('{file}').eval(), "
        "(torch.zeros(1, 3, 224, 224),), '{onnx}', dynamo=False, input_names=['x'], "
        "dynamic_axes={{'x': {{0: 'N'}}}})\", with the shape that it takes"
    ),
    ".pth": _WEIGHTS,
    ".ckpt": (
        "is a checkpoint of a training framework. Save its weights as a state dict "
        "(torch.save(model.state_dict(), 'weights.pt')) and name the module: "
        "path/to/file.py:NAME --weights weights.pt"
    ),
    ".safetensors": _WEIGHTS,
    ".pt2": (
        "is an exported PyTorch program. Name the module that it was exported from, "
        "path/to/file.py:NAME, or export that to ONNX: torch.onnx.export(model, (x,), '{onnx}')"
    ),
    ".ort": (
        "is an ONNX Runtime file, whose graph is optimized for one machine. Give the .onnx file "
        "that it was made from"
    ),
}
FORMATS |= {
    ".hdf5": FORMATS[".h5"],
    ".mlpackage": FORMATS[".mlmodel"],
    ".torchscript": FORMATS[".pt"],
    ".pkl": FORMATS[".ckpt"],
}


def foreign(spec: str) -> InvalidInputError | None:
    """Return the error for a file of another format, None if the ending is of none of them.

    >>> str(foreign("nets/a.pth")).partition(". ")[2]
    'Name the module as well: path/to/file.py:NAME --weights nets/a.pth.'
    """
    path = Path(spec)
    advice = FORMATS.get(path.suffix.lower())
    if advice is None:
        return None
    onnx = path.with_suffix(".onnx").as_posix()
    folder = path.with_suffix("").as_posix()
    said = advice.format(file=path.as_posix(), onnx=onnx, folder=folder)
    return InvalidInputError(f"{spec} {said}.")
