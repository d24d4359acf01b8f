"""The Swift package that users depend on: what is in it, and what it does in an empty project outside of the checkout.

    REMINT_SWIFT="swift's prefix" REMINT_AUTHORITY=target/debug/authority python3 tests/packaging/swift/test_package.py

REMINT_SWIFT is the command that runs another one where the toolchain is; none where that is here. REMINT_SWIFT_PACKAGE names
another package than that in target/packages/. Needs nothing but Python, and ends with `N passed, N failed`.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PACKAGE = Path(os.environ.get("REMINT_SWIFT_PACKAGE", ROOT / "target/packages/remint-swift")).resolve()
PREFIX = shlex.split(os.environ.get("REMINT_SWIFT", ""))

#: Written by the build: in what users get, and never committed.
GENERATED = ["Sources/RemintCore/RemintCore.swift", "Sources/CRemint/CRemint.h", "lib/libremint_ffi.a", "lib/remint.pc"]
WRITTEN = ["Package.swift", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "Sources/CRemint/module.modulemap", "Sources/RemintCore/Secret.swift"]
#: Most of it is not linked into a program that uses it; the bench says how much is.
MOST_BYTES = 12_000_000
ADDRESS = re.compile(rb"https?://[\w./%-]+")
MACHINE = re.compile(rb"(?:/(?:root|home|Users|builds|github|tmp|var/tmp)/[\w./+-]+)")


class Unmet(Exception):
    """What was expected and is not so."""


def expect(condition: object, what: object) -> None:
    if not condition:
        raise Unmet(str(what))


def run(words: list[str], place: Path, seconds: int = 900, **variables: str) -> str:
    """Runs a command where the toolchain is, and gives what it prints; both streams, since SwiftPM warns on either."""
    done = subprocess.run(
        [*PREFIX, *words],
        cwd=place,
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=seconds,
    )
    expect(done.returncode == 0, f"`{' '.join(words)}` ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout


class Package:
    """What lies in target/packages/."""

    def test_it_holds_what_users_need(self) -> None:
        for name in WRITTEN + GENERATED:
            expect((PACKAGE / name).is_file(), f"{name} is missing")
        expect((PACKAGE / "README.md").stat().st_size > 1000, "the README says next to nothing")
        expect("MIT" in (PACKAGE / "LICENSE-MIT").read_text(), "the licence is another")

    def test_it_holds_nothing_else(self) -> None:
        names = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*") if path.is_file()}
        known = re.compile(r"Sources/Remint/[\w+]+\.swift|Sources/Remint/Remint\.docc/.+|Tests/RemintTests/[\w+]+\.swift|scripts/[\w-]+\.sh|\.gitignore|\.swift-format|\.spi\.yml")
        strange = {name for name in names - set(WRITTEN) - set(GENERATED) if not known.fullmatch(name)}
        expect(not strange, f"what is {sorted(strange)} for?")

    def test_nothing_generated_is_committed(self) -> None:
        if not (ROOT / ".git").exists():
            return
        listed = subprocess.run(["git", "ls-files", "bindings-uniffi/swift"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        committed = {line.removeprefix("bindings-uniffi/swift/") for line in listed.stdout.splitlines()}
        expect("Package.swift" in committed, "the package is not in the checkout")
        expect(not committed & set(GENERATED), committed & set(GENERATED))

    def test_its_manifest_can_be_depended_on_by_a_tag(self) -> None:
        text = (PACKAGE / "Package.swift").read_text()
        expect("unsafeFlags" not in text and "unsafe_flags" not in text, "a tagged dependency may not use unsafe flags")
        with tempfile.TemporaryDirectory() as scratch:
            said = run(["swift", "package", "--scratch-path", scratch, "dump-package"], PACKAGE)
        manifest = json.loads(said[said.index("{") :])
        expect("unsafeFlags" not in json.dumps(manifest), manifest)
        expect(manifest["dependencies"] == [], manifest["dependencies"])
        expect(manifest.get("swiftLanguageVersions") == ["6"], manifest.get("swiftLanguageVersions"))
        expect({product["name"] for product in manifest["products"]} == {"Remint", "RemintCore"}, manifest["products"])
        platforms = {platform["platformName"]: platform["version"] for platform in manifest["platforms"]}
        expect(platforms.get("ios") == "16.0" and platforms.get("macos") == "13.0", platforms)

    def test_pkg_config_finds_the_library_wherever_the_package_lies(self) -> None:
        text = (PACKAGE / "lib/remint.pc").read_text()
        expect("${pcfiledir}" in text, text)
        expect(not re.search(r"[=\s](?:-[LI])?/", text), f"an absolute path in\n{text}")
        expect("-lremint_ffi" in text, text)

    def test_the_module_map_names_the_header_beside_it(self) -> None:
        text = (PACKAGE / "Sources/CRemint/module.modulemap").read_text()
        expect(re.search(r'header "CRemint\.h"', text) and "module CRemint" in text, text)

    def test_the_library_is_small_enough_and_tells_nothing_of_the_machine_that_made_it(self) -> None:
        library = (PACKAGE / "lib/libremint_ffi.a").read_bytes()
        print(f"libremint_ffi.a: {len(library) / 1e6:.1f} MB")
        expect(len(library) <= MOST_BYTES, f"{len(library)} bytes")
        # A profile names the pages that it was made from, and some of those look like paths.
        library = ADDRESS.sub(b"", library)
        told = sorted({found.decode() for found in MACHINE.findall(library)})
        expect(not told, f"{len(told)} paths of the machine that made it, as in {told[:5]}")

    def test_no_text_in_it_tells_either(self) -> None:
        for path in PACKAGE.rglob("*"):
            if path.is_file() and path.suffix != ".a":
                told = MACHINE.findall(path.read_bytes())
                expect(not told, f"{path.name}: {told}")


class Consumers:
    """Empty projects outside of the checkout, which depend on the package."""

    def __init__(self, place: Path, authority: str) -> None:
        self.place, self.authority = place, authority

    def test_by_path(self) -> None:
        # Moved, and renamed: nothing in it may know where it was built. A path's last part is its identity.
        package = self.place / "elsewhere" / "remint-swift"
        shutil.copytree(PACKAGE, package)
        project = self.project("by-path", '.package(path: "../elsewhere/remint-swift")')
        said = self.build(project, package / "lib")
        self.call(project)
        print(f"built without a warning in {said}")

    def test_misuse_never_traps(self) -> None:
        said = run([".build/debug/Misuse"], self.place / "by-path", 120)
        print(said.strip().splitlines()[-1])
        expect(re.search(r"^\d{3,} refused or taken$", said, re.MULTILINE), said)

    def test_by_a_tag(self) -> None:
        """Where SwiftPM refuses unsafe flags, and where the library comes out of a repository."""
        git = Git(self.place / "git")
        remote = self.place / "remote" / "remint-swift"
        shutil.copytree(PACKAGE, remote)
        # In the checkout it says what is generated; the published repository has that committed.
        (remote / ".gitignore").unlink(missing_ok=True)
        for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "0.1.0"], ["tag", "0.1.0"]):
            git.run(words, remote)
        project = self.project("by-tag", f'.package(url: "file://{remote}", exact: "0.1.0")')
        run(["swift", "package", "resolve"], project, **git.variables)
        self.build(project, project / ".build/checkouts/remint-swift/lib", **git.variables)
        self.call(project)

    def project(self, name: str, dependency: str) -> Path:
        project = self.place / name
        shutil.copytree(HERE / "consumer", project)
        shutil.copytree(project / "Sources/Consumer", project / "Sources/ConsumerInSwift5")
        (project / "Package.swift").write_text(MANIFEST.replace("DEPENDENCY", dependency))
        return project

    def build(self, project: Path, library: Path, **variables: str) -> str:
        before = time.monotonic()
        said = run(["swift", "build"], project, PKG_CONFIG_PATH=str(library), **variables)
        warnings = [line for line in said.splitlines() if re.search(r"\bwarning:", line)]
        expect(not warnings, "\n".join(warnings))
        return f"{time.monotonic() - before:.0f} s"

    def call(self, project: Path) -> None:
        for program in ("Consumer", "ConsumerInSwift5"):
            status, _, answer = run([f".build/debug/{program}", self.authority], project, 60).partition(" ")
            expect(status == "200", answer)
            expect(json.loads(answer)["credential"] == "bearer", answer)


MANIFEST = """// swift-tools-version: 6.0
import PackageDescription

let remint: Target.Dependency = .product(name: "Remint", package: "remint-swift")

let package = Package(
  name: "consumer",
  platforms: [.macOS(.v13)],
  dependencies: [DEPENDENCY],
  targets: [
    .executableTarget(name: "Consumer", dependencies: [remint]),
    .executableTarget(name: "ConsumerInSwift5", dependencies: [remint], swiftSettings: [.swiftLanguageMode(.v5)]),
    .executableTarget(name: "Misuse", dependencies: [remint, .product(name: "RemintCore", package: "remint-swift")]),
  ]
)
"""


class Git:
    """Git for SwiftPM. Where the toolchain has none, this machine's goes along: the program, its libraries, its own paths."""

    def __init__(self, place: Path) -> None:
        self.variables = {
            "GIT_CONFIG_GLOBAL": os.devnull,
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
        }
        if subprocess.run([*PREFIX, "git", "--version"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
            return
        program = shutil.which("git")
        expect(program, "git is needed for a dependency by tag: install it")
        (place / "bin").mkdir(parents=True)
        (place / "lib").mkdir()
        shutil.copy(str(program), place / "lib/git")
        needed = subprocess.run(["ldd", str(program)], check=True, stdout=subprocess.PIPE, text=True).stdout
        for library in re.findall(r"=> (/\S+)", needed):
            # The C library is the system's own there.
            if not re.match(r"lib(c|m|dl|rt|pthread)\.", Path(library).name):
                shutil.copy(library, place / "lib")
        for name in ("git-upload-pack", "git-receive-pack", "git-index-pack"):
            (place / "lib" / name).symlink_to("git")
        launcher = place / "bin/git"
        here = shlex.quote(str(place / "lib"))
        launcher.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={here} GIT_EXEC_PATH={here} GIT_TEMPLATE_DIR= exec {here}/git "$@"\n')
        launcher.chmod(0o755)
        self.variables["PATH"] = f"{place / 'bin'}:{os.environ['PATH']}"

    def run(self, words: list[str], place: Path) -> None:
        who = ["-c", "user.name=remint", "-c", "user.email=remint@example.invalid"]
        subprocess.run(["git", *who, *words], cwd=place, check=True, env={**os.environ, **self.variables}, stdout=subprocess.DEVNULL)


def main() -> int:
    expect(PACKAGE.is_dir(), "make the package with `cargo xtask package swift`, or name it in REMINT_SWIFT_PACKAGE")
    program = os.environ.get("REMINT_AUTHORITY")
    expect(program, "the variable REMINT_AUTHORITY must name the authority's program")
    counts = {"passed": 0, "failed": 0}
    authority = subprocess.Popen([str(program), "--exit-with-stdin", "--quiet"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tempfile.gettempdir())
    assert authority.stdin is not None and authority.stdout is not None
    try:
        about = json.loads(authority.stdout.readline())
        with tempfile.TemporaryDirectory(prefix="remint-swift-") as place:
            consumers = Consumers(Path(place).resolve(), f"{about['http']}/packaging/phoenix-wallet")
            for suite in (Package(), consumers):
                for name in [name for name in dir(type(suite)) if name.startswith("test_")]:
                    title = f"{type(suite).__name__}: {name.removeprefix('test_').replace('_', ' ')}"
                    try:
                        getattr(suite, name)()
                    except (Unmet, OSError, ValueError, KeyError, subprocess.SubprocessError) as problem:
                        print(f"FAILED {title}\n  {problem}\n", flush=True)
                        counts["failed"] += 1
                    else:
                        print(f"passed {title}", flush=True)
                        counts["passed"] += 1
    finally:
        authority.stdin.close()
        authority.wait(10)
    print(f"{counts['passed']} passed, {counts['failed']} failed")
    return 1 if counts["failed"] or not counts["passed"] else 0


if __name__ == "__main__":
    try:
        code = main()
    except Unmet as problem:
        sys.exit(str(problem))
    sys.exit(code)
