"""The part of README.md that is made from the features: which server shows what in which host."""

from pathlib import Path

from features import expected, matrix

FILE = Path(__file__).parent / "README.md"
BEGIN, END = "<!-- made by run.py --write-matrix -->", "<!-- until here -->"


def made():
    before, rest = FILE.read_text().split(BEGIN)
    after = rest.split(END)[1]
    return "\n".join([before + BEGIN, *matrix(expected), END + after])


def is_stale():
    return FILE.read_text() != made()


def write():
    FILE.write_text(made())
