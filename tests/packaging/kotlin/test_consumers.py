"""The artefacts in projects of their own, outside of the checkout, on every JDK from 17 that is here."""

from __future__ import annotations

import filecmp
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Iterator, NamedTuple
from urllib.parse import urlsplit

import pytest
from test_contents import ARTEFACTS, HERE, PLATFORM, VERSION, packed

ROOT = HERE.parents[2]
SECRET = "s3cret+/%&: odd"


class Jdk(NamedTuple):
    version: int
    home: Path

    def __str__(self) -> str:
        return f"JDK {self.version}"


@lru_cache(None)
def jdks() -> list[Jdk]:
    """Each version once: the one that Maven runs on, and what else is installed."""
    found = {}
    which = shutil.which("java")
    homes = [Path(os.environ["JAVA_HOME"])] if "JAVA_HOME" in os.environ else []
    homes += [Path(which).resolve().parents[1]] if which else []
    for home in [*homes, *sorted(Path("/usr/lib/jvm").glob("*"))]:
        release = home / "release"
        if (home / "bin" / "java").exists() and release.exists():
            version = int(re.search(r'JAVA_VERSION="(\d+)', release.read_text())[1])  # type: ignore[index]
            if version >= 17:
                found.setdefault(version, Jdk(version, home))
    return sorted(found.values())


on_every_jdk = pytest.mark.parametrize("jdk", jdks(), ids=str)


@pytest.fixture(scope="session")
def authority() -> Iterator[dict[str, Any]]:
    program = os.environ.get("REMINT_AUTHORITY")
    command = program.split(" ") if program else ["cargo", "run", "--quiet", "--package", "authority", "--"]
    process = subprocess.Popen([*command, "--exit-with-stdin", "--quiet"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None and process.stdout is not None
    yield json.loads(process.stdout.readline())
    process.stdin.close()
    process.wait(10)


class Lane:
    """A corner of the authority for one test."""

    def __init__(self, about: dict[str, Any], name: str) -> None:
        self.origin, self.name = about["http"], name

    @property
    def environment(self) -> dict[str, str]:
        return {
            "CLIENT_ID": "demo-client",
            "CLIENT_SECRET": SECRET,
            "TOKEN_ENDPOINT": f"{self.origin}/{self.name}/phoenix-wallet/oauth/token",
        }

    def token_requests(self) -> int:
        connection = http.client.HTTPConnection(urlsplit(self.origin).netloc, timeout=10)
        try:
            connection.request("GET", f"/{self.name}/control/counters")
            return int(json.loads(connection.getresponse().read())["token"]["total"])
        finally:
            connection.close()


@pytest.fixture
def lane(authority: dict[str, Any], request: pytest.FixtureRequest) -> Lane:
    return Lane(authority, "packaging-" + re.sub(r"\W+", "-", request.node.name))


class Project:
    """A copy of one of the projects beside this file, compiled by Maven, outside of the checkout."""

    def __init__(self, name: str, place: Path) -> None:
        self.place = place / name
        shutil.copytree(HERE / name, self.place, ignore=shutil.ignore_patterns("target"))
        self.maven("compile", "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:build-classpath", "-Dmdep.outputFile=classpath.txt")
        self.dependencies = (self.place / "classpath.txt").read_text().strip().split(os.pathsep)
        self.classpath = os.pathsep.join([str(self.place / "target" / "classes"), *self.dependencies])

    def maven(self, *goals: str) -> None:
        command = ["mvn", "-B", "-q", "-ntp", "-Dstyle.color=never", "-Dkotlin.compiler.daemon=false", *goals]
        done = subprocess.run(command, cwd=self.place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)
        assert done.returncode == 0, done.stdout[-4000:]

    def run(self, jdk: Jdk, main: str, cwd: Path, *options: str, prefix: tuple[str, ...] = (), env: dict[str, str] = {}) -> str:
        """Runs a program to its good end; what it printed, on either stream."""
        command = [*prefix, str(jdk.home / "bin" / "java"), *access(jdk), "-XX:-UsePerfData", *options, "-cp", self.classpath, main]
        done = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=120)
        crashes = [path.read_text()[:3000] for path in cwd.glob("hs_err*")]
        assert crashes == [] and done.returncode == 0, done.stdout[-4000:]
        assert "s3cret" not in done.stdout
        return done.stdout.strip()


def access(jdk: Jdk) -> list[str]:
    """Since JDK 24 whoever loads a native library has to be allowed to, or there is a warning: see the README of the package."""
    return ["--enable-native-access=ALL-UNNAMED"] if jdk.version >= 22 else []


@pytest.fixture(scope="session")
def kotlin(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project("kotlin-consumer", tmp_path_factory.mktemp("kotlin"))


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project("java-consumer", tmp_path_factory.mktemp("java"))


def test_maven_gets_what_was_packed(java: Project) -> None:
    (used,) = [path for path in java.dependencies if Path(path).name == f"remint-{VERSION}.jar"]
    installed = Path(used).parents[2]
    for artefact in ARTEFACTS:
        name = f"{artefact}-{VERSION}.jar"
        assert filecmp.cmp(installed / artefact / VERSION / name, packed(name), shallow=False), "install it with `cargo xtask package kotlin`"


def test_it_brings_along_kotlin_coroutines_and_jna_and_nothing_else(java: Project) -> None:
    names = {re.sub(r"-[\d.]+(-\w+)?\.jar$", "", Path(path).name) for path in java.dependencies}
    assert names == {"remint", "kotlin-stdlib", "annotations", "kotlinx-coroutines-core-jvm", "jna"}


@on_every_jdk
def test_the_first_token_in_kotlin(kotlin: Project, lane: Lane, jdk: Jdk, tmp_path: Path) -> None:
    assert kotlin.run(jdk, "FirstKt", tmp_path, env=lane.environment) == "Bearer"
    assert lane.token_requests() == 1


@on_every_jdk
def test_the_first_token_in_java(java: Project, lane: Lane, jdk: Jdk, tmp_path: Path) -> None:
    assert java.run(jdk, "First", tmp_path, env=lane.environment) == "Bearer"
    assert lane.token_requests() == 1


@on_every_jdk
def test_what_java_programs_write_compiles_and_is_loaded(java: Project, jdk: Jdk, tmp_path: Path) -> None:
    assert java.run(jdk, "Everything", tmp_path) == "compiled"


@on_every_jdk
def test_nulls_wrong_types_and_closed_clients_are_exceptions(java: Project, jdk: Jdk, tmp_path: Path) -> None:
    assert re.fullmatch(r"fine \d+", java.run(jdk, "Misuse", tmp_path))


@on_every_jdk
def test_10_000_clients_that_nobody_closes_are_harmless(java: Project, jdk: Jdk, tmp_path: Path) -> None:
    assert java.run(jdk, "Leak", tmp_path, "-Xmx64m") == "harmless"


@on_every_jdk
def test_two_class_loaders_have_a_copy_each(java: Project, lane: Lane, jdk: Jdk, tmp_path: Path) -> None:
    # The platform's loader is the parent of both: the program's own classes are not in it.
    assert java.run(jdk, "Loaders", tmp_path, env=lane.environment) == "Bearer\nBearer"
    assert lane.token_requests() == 2


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a file system")
@pytest.mark.parametrize("options", ["noexec", "ro"])
@on_every_jdk
def test_a_folder_that_nothing_can_be_loaded_from_is_an_error_that_names_the_fix(java: Project, jdk: Jdk, options: str, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    mounted = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs -o {options} none "$0" && exec "$@"', str(folder))
    for wrong in (f"-Djna.tmpdir={folder}", f"-Djava.io.tmpdir={folder}"):
        shown = java.run(jdk, "Folder", tmp_path, wrong, prefix=mounted, env={"HOME": str(folder), "XDG_CACHE_HOME": str(folder)})
        # JNA may have a warning of its own before.
        first, second = [line for line in shown.splitlines() if line.startswith("invalid_option: ")]
        assert first == second and "`jna.tmpdir`" in first and "noexec" in first


@on_every_jdk
def test_the_way_out_of_such_a_folder_works(java: Project, jdk: Jdk, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.mkdir()
    assert java.run(jdk, "Folder", tmp_path, f"-Djna.tmpdir={good}") == "loaded\nloaded"
    assert list(good.glob("*remint*")) == [], "it left its library behind"


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="mounts a file system")
@on_every_jdk
def test_the_other_way_out_works_too(java: Project, jdk: Jdk, tmp_path: Path) -> None:
    folder, good = tmp_path / "folder", tmp_path / "good"
    folder.mkdir()
    good.mkdir()
    for path in java.dependencies:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if re.fullmatch(rf"(com/sun/jna/)?{PLATFORM}/\w+\.so", name):
                    (good / Path(name).name).write_bytes(archive.read(name))
    mounted = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o noexec none "$0" && exec "$@"', str(folder))
    options = [f"-Djna.tmpdir={folder}", f"-Djna.library.path={good}", f"-Djna.boot.library.path={good}"]
    assert java.run(jdk, "Folder", tmp_path, *options, prefix=mounted) == "loaded\nloaded"
