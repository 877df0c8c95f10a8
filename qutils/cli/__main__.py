"""``python -m qutils.cli``: the command ``qutils`` of this very Python."""

from qutils.cli import main

if __name__ == "__main__":
    main(prog_name="qutils")
