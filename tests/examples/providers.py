"""Each example speaks to the authority, and the authority tells what it saw."""

import json
import re
import shutil
import subprocess

import programs
from authority import ROOT
from programs import EXAMPLES

ALL = ("rust", "node", "python", "kotlin", "swift")


def phoenix_security(host, authority):
    lane = authority.lane()
    out, err = programs.run(host, "phoenix-security", lane.environment("phoenix-security"))
    answer = accepted(out, "/v1/assets")
    assert answer["credential"] == "bearer" and answer["token_number"] == 1, answer
    assert "fetched" in err.lower(), f"no notice of a token that was fetched: {err}"
    (request,) = tidy(lane, "token")
    assert (request["method"], request["authentication"]) == ("GET", "basic"), request
    tidy(lane, "api")


def phoenix_wallet(host, authority):
    lane = authority.lane()
    out, _ = programs.run(host, "phoenix-wallet", lane.environment("phoenix-wallet"))
    assert accepted(out, "/v1/wallets")["scope"] == "wallets:read"
    (request,) = tidy(lane, "token")
    assert (request["authentication"], request["scope"]) == ("body", "wallets:read"), request
    tidy(lane, "api")


def phoenix_market(host, authority):
    lane = authority.lane()
    out, _ = programs.run(host, "phoenix-market", lane.environment("phoenix-market"))
    handed_out, iframe = out.splitlines()
    handed_out = json.loads(handed_out)
    assert handed_out.keys() == {"access_token", "expires_in"} and 3590 <= handed_out["expires_in"] <= 3600, handed_out.keys()
    url = re.fullmatch('<iframe src="([^"]+)"></iframe>', iframe).group(1)
    status, _, page = programs.get(url)
    assert status == 200 and "The token is good" in page, status
    tidy(lane, "token")
    assert lane.token_requests() == 1


def personify(host, authority):
    lane = authority.lane()
    out, _ = programs.run(host, "personify", lane.environment("personify"))
    answers = out.splitlines()
    assert len(answers) == (1 if host == "rust" else 50), len(answers)
    for answer in answers:
        assert accepted(answer, "/v1/customers")["scope"] == "idp_api"
    assert lane.token_requests() == 1
    for request in tidy(lane, "api"):
        assert "x-tenant-id" in request["header_names"], request
    for request in tidy(lane, "token"):
        assert "x-tenant-id" not in request["header_names"], request


def rapidomize(host, authority):
    lane = authority.lane()
    out, err = programs.run(host, "rapidomize", lane.environment("rapidomize"))
    assert accepted(out.splitlines()[-1], "/v1/devices")["credential"] == "bearer"
    assert "a new refresh token for ann" in err, err
    (request,) = tidy(lane, "token")
    assert request["grant"] == "authorization_code", request
    (request,) = tidy(lane, "api")
    assert "x-rpz-auth" in request["header_names"] and "authorization" not in request["header_names"], request


def without_variables(host, authority):
    """Whoever forgets a variable is told which one, or which option it is for."""
    lane = authority.lane()
    for name in ("phoenix-security", "phoenix-wallet", "phoenix-market", "personify", "rapidomize"):
        code, out, err = programs.ended(programs.command(host, name), {})
        assert code != 0 and out == "", f"{name} ended with {code}: {out}"
        names = [variable.replace("_", "_?") for variable in lane.environment(name)]
        assert re.search("|".join(names), err, re.IGNORECASE), f"{name} names none of {names}: {err}"


def typescript(host, authority):
    """The program in TypeScript, by the compiler of the npm package's own build: types, then each outcome."""
    js = ROOT / "bindings-wasm" / "js"
    out = ROOT / "target" / "examples-typescript"
    shutil.rmtree(out, ignore_errors=True)
    words = "--strict --target es2022 --module nodenext --types node --erasableSyntaxOnly --pretty false"
    compiler = [str(js / "node_modules/.bin/tsc"), *words.split(), "--typeRoots", str(js / "node_modules/@types")]
    checked = subprocess.run([*compiler, "--outDir", str(out), str(EXAMPLES / "node/errors.mts")], stdout=subprocess.PIPE, text=True)
    assert checked.returncode == 0, checked.stdout
    outcomes(["node", str(out / "errors.mjs")], authority)


def java(host, authority):
    """The program in Java, whose futures wrap what is thrown."""
    outcomes(programs.java("JavaWallet"), authority)


def outcomes(program, authority):
    """A program that tells the three families of errors apart: each of them, and none."""
    lane = authority.lane()
    variables = lane.environment("phoenix-wallet")
    code, out, err = programs.ended(program, variables)
    assert code == 0 and "fetched cold" in err, err
    accepted(out, "/v1/wallets")

    code, out, err = programs.ended(program, {**variables, "CLIENT_SECRET": "not-the-secret"})
    assert code == 1 and "The server said no: invalid_client" in err and "not-the-secret" not in err, err

    lane.fault(status=503, retry_after="600")
    code, out, err = programs.ended(program, variables)
    assert code == 75 and "status 503" in err, err

    code, out, err = programs.ended(program, {**variables, "TOKEN_ENDPOINT": "http://127.0.0.1:2/token"})
    assert code == 75 and "No answer arrived" in err and "could not be reached" in err, err

    code, out, err = programs.ended(program, {**variables, "TOKEN_ENDPOINT": "http://auth.example/token"})
    assert code == 1 and "invalid_option" in err and "tokenEndpoint" in err, err


def spring(host, authority):
    """A Spring Boot application: its configuration says which provider, and the client is a bean."""
    lane = authority.lane()
    out, err = programs.ended_well(programs.java("wallet.WalletApplicationKt", "kotlin/spring"), lane.environment("phoenix-wallet"))
    assert accepted(out, "/v1/wallets")["scope"] == "wallets:read"
    assert "fetched" in err.lower(), err
    tidy(lane, "token")


def vapor(host, authority):
    lane = authority.lane()
    variables = lane.environment("phoenix-wallet")
    out, _ = programs.ended_well(programs.swift("VaporApp"), variables)
    assert accepted(out, "/v1/wallets")["scope"] == "wallets:read"
    tidy(lane, "token")


def mobile_app(host, authority):
    """The half that holds no secret: a public client, and the person's browser."""
    lane = authority.lane()
    lane.control("POST", "clients", {"client_id": "notes-app", "public": True})
    out, _ = programs.ended_well(programs.swift("MobileApp"), {"CLIENT_ID": "notes-app", "ISSUER": f"{lane.address}/rapidomize"})
    accepted(out.splitlines()[-1], "/v1/notes")
    (request,) = tidy(lane, "token")
    assert (request["grant"], request["authentication"]) == ("authorization_code", "none"), request


def mobile_back_end(host, authority):
    """The half that holds the secret: a URL for the app, fit for no cache."""
    lane = authority.lane()
    out, _ = programs.ended_well(programs.swift("MobileBackEnd"), lane.environment("phoenix-market"))
    frame, caching = out.splitlines()
    frame = json.loads(frame)
    assert caching == "cache-control: no-store", caching
    assert 300 <= frame["expiresIn"] <= 3600, frame["expiresIn"]
    status, _, page = programs.get(frame["url"])
    assert status == 200 and "The token is good" in page, status


def accepted(text, path):
    """What the authority's API says of a call that it let pass."""
    answer = json.loads(text)
    assert answer.get("ok") is True and answer["path"] == path, text
    return answer


def tidy(lane, kind):
    """The requests of this kind, which must all be beyond reproach."""
    requests = lane.log(kind)
    assert requests, f"no {kind} request arrived"
    for request in requests:
        assert request["status"] == "200" and request["problems"] == [], request
    return requests


TESTS = [
    (ALL, phoenix_security),
    (ALL, phoenix_wallet),
    (ALL, phoenix_market),
    (ALL, personify),
    (ALL, rapidomize),
    (ALL, without_variables),
    (("node",), typescript),
    (("kotlin",), java),
    (("kotlin",), spring),
    (("swift",), vapor),
    (("swift",), mobile_app),
    (("swift",), mobile_back_end),
]
