"""PyTorch Inductor on x86: ``.pt2`` files, compiled where they are loaded."""

from qutils.backends.backend import Backend

BACKEND = Backend(
    name="inductor",
    label="Inductor",
    suffix=".pt2",
    exporter="qutils.backends.inductor.exporter:export_inductor",
    runtime="qutils.backends.inductor.runtime:Inductor",
    package="torch",
    command="apt install g++",
    programs=("g++", "clang++"),
    color="#56B4E9",
    marker="P",
    rank=50,
)
