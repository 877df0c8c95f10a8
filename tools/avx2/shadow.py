"""Run a command as on a CPU with AVX2 and nothing newer: ``shadow.py python -m pytest ...``.

Libraries choose their kernels by the CPUID instruction, and hardly one has a switch. This tool
makes a copy of the virtual environment (hard links) in which every CPUID instruction is replaced
by UD2, and answers it from ``cpuid.c`` with AVX-512, VNNI and AMX left out. Code runs at full
speed; results are those of the AVX2 kernels, timings those of AVX2 kernels on this CPU.

The copy is made anew when packages of the environment change. Needs gcc and objdump, Linux on
x86-64. Programs started outside the copy (``make``, ``.venv/bin/qutils``) see the real CPU.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
VENV = (ROOT / ".venv").resolve()  # of a link, the environment itself: it is copied, not patched
CPUID, UD2 = b"\x0f\xa2", b"\x0f\x0b"
#: Flags of /proc/cpuinfo that a CPU without AVX-512 does not have.
NEWER = re.compile(r"\b(avx512\w*|avx_vnni\w*|avx_ifma|avx10\w*|amx_\w+)\b ?")
_LINE = re.compile(rb"^ *([0-9a-f]+):\t0f a2 +\tcpuid", re.MULTILINE)


def shadow_folder() -> Path:
    """Folder of the copy; its name changes with the packages of the environment."""
    names = sorted(p.name for p in VENV.glob("lib/*/site-packages/*.dist-info"))
    key = hashlib.sha256("\n".join([str(VENV), *names]).encode()).hexdigest()[:12]
    return ROOT / ".cache" / "avx2" / key


def instructions(library: Path) -> list[int]:
    """Offsets in the file of every CPUID instruction, as the disassembler finds them."""
    if CPUID not in library.read_bytes():
        return []
    listing = subprocess.run(["objdump", "-d", library], capture_output=True, check=True).stdout
    addresses = [int(found, 16) for found in _LINE.findall(listing)]
    return [offset for address in addresses for offset in _offsets(library, address)]


def _offsets(library: Path, address: int) -> list[int]:
    """Where a virtual address lies in the file: sections as objdump lists them."""
    listing = subprocess.run(["objdump", "-h", "-w", library], capture_output=True, check=True)
    for line in listing.stdout.decode().splitlines():
        fields = line.split()
        if len(fields) > 6 and fields[0].isdigit() and "CODE" in line:
            size, start, offset = (int(fields[i], 16) for i in (2, 3, 5))
            if start <= address < start + size:
                return [address - start + offset]
    return []


def patch(library: Path) -> int:
    """Replace the instructions of one library (a copy, no longer a link); return how many."""
    found = instructions(library)
    if found:
        content = bytearray(library.read_bytes())
        for offset in found:
            assert content[offset : offset + 2] == CPUID, library
            content[offset : offset + 2] = UD2
        library.unlink()
        library.write_bytes(content)
    return len(found)


def build(folder: Path) -> None:
    """Copy the environment, patch its libraries, compile the handler."""
    temporary = folder.with_suffix(".part")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-al", VENV, temporary], check=True)
    for library in sorted(temporary.rglob("*.so*")):
        if library.is_file() and not library.is_symlink() and (count := patch(library)):
            print(f"  {count:4d} in {library.relative_to(temporary)}", file=sys.stderr)
    source, handler = HERE / "cpuid.c", temporary / "cpuid.so"
    command = ["gcc", "-O2", "-shared", "-fPIC", "-o", handler, source, "-ldl"]
    subprocess.run(command, check=True)
    text = Path("/proc/cpuinfo").read_text()
    (temporary / "cpuinfo").write_text(NEWER.sub("", text))
    temporary.rename(folder)


def main() -> None:
    """Build the copy if need be, then become the command."""
    if not sys.argv[1:]:
        sys.exit(__doc__)
    folder = shadow_folder()
    if not folder.is_dir():
        print(f"Replacing CPUID in a copy of {VENV}: some minutes, once", file=sys.stderr)
        build(folder)
    environment = {
        **os.environ,
        "LD_PRELOAD": str(folder / "cpuid.so"),
        "QUTILS_CPUINFO": str(folder / "cpuinfo"),
        "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),  # its programs are for one CPU
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "VIRTUAL_ENV": str(folder),
    }
    os.execvpe(sys.argv[1], sys.argv[1:], environment)


if __name__ == "__main__":
    main()
