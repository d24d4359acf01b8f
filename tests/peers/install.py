"""Puts the servers into the user's cache folder, each once: a folder is named after what is in it."""

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).parent

KEYCLOAK = "26.7.3"
KEYCLOAK_BUILD = ["--db=dev-file", "--https-client-auth=request", "--features=jwt-authorization-grant"]


def oidc_provider():
    def install(folder):
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(HERE / "oidc-provider" / name, folder)
        run(["npm", "ci", "--no-audit", "--no-fund", "--prefer-offline"], folder)

    return cached("oidc-provider", (HERE / "oidc-provider" / "package-lock.json").read_bytes(), 10, install) / "node_modules"


def django_oauth_toolkit():
    requirements = HERE / "django-oauth-toolkit" / "requirements.txt"

    def install(folder):
        run([sys.executable, "-m", "venv", str(folder)], folder)
        pip = ["bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
        run([*pip, "--requirement", str(requirements)], folder)

    return str(cached("django-oauth-toolkit", requirements.read_bytes(), 20, install) / "bin" / "python")


def spring_authorization_server():
    """The folder with the compiled class and the jars that it needs."""
    source = HERE / "spring-authorization-server"
    inputs = [source / "pom.xml", source / "src" / "main" / "java" / "peers" / "Server.java"]

    def install(folder):
        with locked("maven"):
            shutil.copytree(source, folder, dirs_exist_ok=True)
            maven(["package"], folder)

    return cached("spring-authorization-server", b"".join(path.read_bytes() for path in inputs), 40, install) / "target"


def keycloak(initialise):
    """Its folder, built and with a database that was filled once by `initialise`: that takes longer than a start."""

    def install(folder):
        artifact = f"org.keycloak:keycloak-quarkus-dist:{KEYCLOAK}:zip"
        copy = "org.apache.maven.plugins:maven-dependency-plugin:3.6.0:copy"
        with locked("maven"):
            maven([copy, f"-Dartifact={artifact}", f"-DoutputDirectory={folder}"], folder)
        (archive,) = folder.glob("*.zip")
        with zipfile.ZipFile(archive) as opened:
            opened.extractall(folder)
        archive.unlink()
        home = folder / f"keycloak-{KEYCLOAK}"
        (home / "bin" / "kc.sh").chmod(0o755)
        run([str(home / "bin" / "kc.sh"), "build", *KEYCLOAK_BUILD], home)
        initialise(home)

    return cached("keycloak", " ".join([KEYCLOAK, *KEYCLOAK_BUILD]).encode(), 90, install) / f"keycloak-{KEYCLOAK}"


def debian(*packages):
    """A folder with the files of Debian packages and of those that they need and the machine lacks. Nothing is installed, and nobody has to be root."""

    def install(folder):
        archives = folder / "archives"
        (archives / "partial").mkdir(parents=True)
        options = ["-o", "Debug::NoLocking=1", "-o", f"Dir::Cache::Archives={archives}", "-o", "APT::Sandbox::User=root"]
        run(["apt-get", "--yes", "--quiet", *options, "--no-install-recommends", "--download-only", "--reinstall", "install", *packages], folder)
        for archive in archives.glob("*.deb"):
            run(["dpkg", "--extract", str(archive), str(folder)], folder)
        shutil.rmtree(archives)

    return cached("-".join(packages), Path("/etc/debian_version").read_bytes(), 10, install)


def cached(name, inputs, seconds, install):
    """The folder for these inputs, filled unless it is there; two runs don't fill the same one at once."""
    folder = cache() / f"peer-{name}-{hashlib.sha256(inputs + sys.version.encode()).hexdigest()[:8]}"
    with locked(folder.name):
        if not (folder / ".ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            print(f"installing {name} into {folder} (about {seconds} s)", flush=True)
            started = time.monotonic()
            install(folder)
            (folder / ".ready").touch()
            print(f"installed {name} in {time.monotonic() - started:.0f} s", flush=True)
    return folder


def cache():
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "remint"
    base.mkdir(parents=True, exist_ok=True)
    return base


@contextlib.contextmanager
def locked(name):
    with open(cache() / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def maven(words, folder):
    # Maven's local repository is not made for two that fill it at once.
    run(["mvn", "--batch-mode", "--quiet", *words], folder)


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600)
    if done.returncode:
        raise SystemExit(f"`{' '.join(command)}` failed:\n{done.stdout[-4000:]}")
