"""The wheel that users install: what is in it, what it asks of a machine, and what it does in an empty environment."""

from __future__ import annotations

import email
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
PACKAGES = HERE.parents[2] / "target" / "packages"

FILES = {
    "__init__.py",
    "_async_client.py",
    "_auth_flow.py",
    "_call.py",
    "_certificate.py",
    "_client.py",
    "_driver.py",
    "_flows.py",
    "_native.pyi",
    "_registration.py",
    "_shared.py",
    "_signing.py",
    "_transport.py",
    "aiohttp.py",
    "core.py",
    "errors.py",
    "file.py",
    "httpx.py",
    "httpx2.py",
    "py.typed",
    "redis.py",
    "requests.py",
    "store.py",
}


@pytest.fixture(scope="session")
def wheel() -> Path:
    if "WHEEL" in os.environ:
        return Path(os.environ["WHEEL"])
    found = sorted(PACKAGES.glob("remint-*.whl"))
    assert len(found) == 1, "make the wheel with `cargo xtask package python`, or name it in WHEEL"
    return found[0]


@pytest.fixture(scope="session")
def native(wheel: Path) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith((".so", ".pyd"))]
        return archive.read(name)


@pytest.fixture(scope="session")
def empty(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and nothing else, outside of the checkout. Gives its interpreter."""
    place = tmp_path_factory.mktemp("empty")
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
    python = place / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", str(wheel)]
    subprocess.run(install, check=True, env=clean())
    return python


def clean() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


def run(python: Path, program: str) -> str:
    done = subprocess.run(
        [str(python), "-c", program], cwd=python.parents[2], env=clean(), check=True, stdout=subprocess.PIPE, text=True, timeout=60
    )
    return done.stdout


def test_it_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for entry in archive.infolist():
            print(f"{entry.file_size:>9}  {entry.filename}")
        names = {entry.filename for entry in archive.infolist()}
    package = {name.removeprefix("remint/") for name in names if name.startswith("remint/")}
    extension = {name for name in package if name.startswith("_native.") and not name.endswith(".pyi")}
    assert package - extension == FILES and len(extension) == 1
    others = {name for name in names if not name.startswith("remint/")}
    assert all(re.fullmatch(r"remint-[\d.]+\.dist-info/.+", name) for name in others)


def test_it_is_small(wheel: Path) -> None:
    size = wheel.stat().st_size
    print(f"{size / 1000:.0f} KB; the budget is 700 KB, and is checked by the bench")
    # Records are encrypted, and signed answers and registrations read, by everybody's core.
    assert size <= 900_000


def test_its_metadata_asks_for_no_other_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_bytes(archive.read(name))
    assert metadata["Name"] == "remint" and metadata["Requires-Python"] == ">=3.9"
    # Who signs with a key, or has a store in Redis, asks for it.
    assert sorted(metadata.get_all("Requires-Dist") or []) == ["cryptography>=42 ; extra == 'signing'", "redis>=5 ; extra == 'redis'"]
    assert "MIT" in (metadata["License-Expression"] or metadata["License"])
    assert "remint.Client(" in metadata.get_payload()


@pytest.mark.skipif(sys.platform != "linux", reason="about Linux")
def test_it_runs_on_linux_of_2014_and_every_python_from_3_9(wheel: Path, native: bytes) -> None:
    assert re.search(r"-cp39-abi3-manylinux2014_\w+\.", wheel.name)
    versions = {tuple(map(int, found.split(b"."))) for found in re.findall(rb"GLIBC_(\d+\.\d+)", native)}
    print("glibc", sorted(versions))
    assert versions and max(versions) <= (2, 17)


@pytest.mark.skipif(shutil.which("nm") is None or sys.platform != "linux", reason="needs nm")
def test_it_exports_its_entry_and_needs_only_the_stable_abi(native: bytes, tmp_path: Path) -> None:
    file = tmp_path / "_native.so"
    file.write_bytes(native)
    lines = subprocess.run(["nm", "-D", str(file)], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
    exported = {line.split()[-1] for line in lines if " T " in line}
    assert exported == {"PyInit__native"}
    needed = {line.split()[-1] for line in lines if " U " in line}
    # Private functions of the interpreter are not in the stable ABI, save these that its macros expand to.
    private = {name for name in needed if name.startswith("_Py")} - {"_Py_Dealloc", "_Py_IncRef", "_Py_DecRef", "_Py_NoneStruct", "_Py_TrueStruct", "_Py_FalseStruct"}
    assert private == set()


def test_it_tells_nothing_of_the_machine_that_made_it(wheel: Path) -> None:
    folders = [re.escape(str(folder).encode()) for folder in (HERE.parents[2], Path.home()) if folder != Path("/")]
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            told = re.findall(rb"(?:/(?:root|home|Users)/[\w.-]+|" + b"|".join(folders) + rb")/[\w./-]*", archive.read(name))
            assert told == [], name


def test_it_works_in_an_empty_environment(empty: Path) -> None:
    program = """
import asyncio, json, remint
token = remint.Client.static("t", api_origins=["https://api.example"]).token()
also = asyncio.run(remint.AsyncClient.static("t").token())
print(json.dumps([token.authorization, also.authorization, remint.__version__, repr(token)]))
try:
    import remint.requests
except ImportError as error:
    assert "requests" in str(error)
"""
    first, second, version, shown = json.loads(run(empty, program))
    assert first == second == "Bearer t" and re.fullmatch(r"\d+\.\d+\.\d+", version) and "redacted" in shown


def test_an_import_is_quick_and_takes_nothing_heavy_along(empty: Path) -> None:
    program = """
import sys, time
before = time.perf_counter()
import remint
print(time.perf_counter() - before)
heavy = {"asyncio", "typing", "json", "ssl", "socket", "http", "threading", "logging", "urllib", "re", "requests", "httpx", "aiohttp"}
print(sorted(heavy & set(sys.modules) - before_modules))
""".replace("import sys, time\n", "import sys, time\nbefore_modules = set(sys.modules)\n")
    times = []
    for _ in range(10):
        seconds, heavy = run(empty, program).splitlines()
        assert heavy == "[]"
        times.append(float(seconds) * 1000)
    print(f"import remint: {min(times):.1f} ms at best, {sorted(times)[5]:.1f} ms in the middle; the budget is 12 ms")
    # Machines that test are busy: the budget is checked by the bench, a blunder here.
    assert min(times) < 40


@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_type_checkers_agree_with_what_users_write(checker: str, tmp_path: Path) -> None:
    consumer = tmp_path / "consumer.py"
    shutil.copy(HERE / "consumer.py", consumer)
    command = {
        "mypy": [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(consumer)],
        "pyright": [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, str(consumer)],
    }[checker]
    (tmp_path / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict"}')
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout


def test_the_stubs_are_those_of_the_extension(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy.stubtest", "remint._native"]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
