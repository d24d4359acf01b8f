"""How an example is run in each language, and what must never be in its output."""

import base64
import functools
import http.client
import json
import os
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request

from authority import CLIENT_ID, CLIENT_SECRET, ROOT, cargo

EXAMPLES = ROOT / "examples"
SECONDS = 60


def command(host, name):
    if host == "rust":
        return [executables()[name]]
    if host == "node":
        return ["node", str(EXAMPLES / "node" / f"{name}.mjs")]
    if host == "kotlin":
        return java(camel_case(name) + "Kt")
    if host == "swift":
        return swift(camel_case(name))
    return [sys.executable, str(EXAMPLES / "python" / f"{name.replace('-', '_')}.py")]


def java(main, folder="kotlin"):
    """A main class of a module that Maven has compiled."""
    target = EXAMPLES / folder / "target"
    return ["java", "-cp", f"{target / 'classes'}:{(target / 'classpath.txt').read_text().strip()}", main]


def swift(product):
    """A program that SwiftPM has compiled, and what runs it where Swift is."""
    return [str(ROOT / "target/installed/swift/run"), str(ROOT / "target/swift/examples/debug" / product)]


def camel_case(name):
    return "".join(word.capitalize() for word in name.split("-"))


@functools.cache
def executables():
    """The Rust programs, built once: cargo would look at each of them again, one after the other."""
    build = [*cargo("build", "examples-rust"), "--message-format", "json-render-diagnostics"]
    built = subprocess.run(build, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    artefacts = [json.loads(line) for line in built.stdout.splitlines()]
    return {each["target"]["name"]: each["executable"] for each in artefacts if each.get("executable")}


def run(host, name, variables):
    """Runs an example to its end; its standard output. Where it asks for a browser, it gets one."""
    return ended_well(command(host, name), variables)


def ended_well(words, variables):
    """Standard output and standard error of a program that must not fail."""
    code, out, err = ended(words, variables)
    assert code == 0, f"it ended with {code}: {err}"
    return out, err


def ended(words, variables):
    """Exit code and output of a program."""
    process = start(words, variables)
    watchdog = threading.Timer(SECONDS, process.kill)
    watchdog.start()
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("Open "):
                process.stdin.write(browse(line.split()[1]) + "\n")
                process.stdin.flush()
        process.stdin.close()
        err = process.stderr.read()
        code = process.wait()
        process.stdout.close()
        process.stderr.close()
    finally:
        watchdog.cancel()
    out = "".join(lines)
    no_secret(out + err)
    assert code != -9, f"it took more than {SECONDS} s: {out}{err}"
    return code, out, err


def start(words, variables):
    """A program with these variables and no others that it could take for its own."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    pipe = subprocess.PIPE
    return subprocess.Popen(words, cwd=ROOT, env={**kept, **variables}, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def browse(url):
    """What a browser does with an authorization URL: the address that it is sent back to."""
    parts = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    connection.request("GET", f"{parts.path}?{parts.query}")
    answer = connection.getresponse()
    connection.close()
    assert answer.status in (302, 303), f"the authorization endpoint answered {answer.status}"
    return answer.headers["location"]


def get(url, headers=None):
    """Status, headers and text of an answer, whatever its status is."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers or {}), timeout=30) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as answer:
        with answer:
            return answer.status, answer.headers, answer.read().decode()


def no_secret(text):
    for secret in SECRETS:
        assert secret not in text, f"the client secret is shown: {text.replace(secret, '<SECRET>')}"


def _secrets():
    quoted = urllib.parse.quote(CLIENT_SECRET, safe=""), urllib.parse.quote_plus(CLIENT_SECRET)
    pairs = [f"{CLIENT_ID}:{secret}" for secret in (CLIENT_SECRET, *quoted)]
    return [CLIENT_SECRET, *quoted, *(base64.b64encode(pair.encode()).decode() for pair in pairs)]


SECRETS = _secrets()

# Where the compilers, interpreters and packages are.
KEPT = ("PATH", "HOME", "CARGO", "CARGO_HOME", "CARGO_TARGET_DIR", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN", "PYTHONPATH", "LANG", "TMPDIR")
