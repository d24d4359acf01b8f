"""examples/phoenix-market-story, in Node and in Python: what visitors get, and what the authority saw."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import programs
from programs import EXAMPLES

BOTH = ("node", "python")
SHOP = "https://shop.example"
STORY = EXAMPLES / "phoenix-market-story"


def fifty_visitors_one_token_request(host, authority):
    lane = authority.lane()
    with back_end(host, lane) as url, ThreadPoolExecutor(10) as visitors:
        answers = list(visitors.map(lambda _: handed_out(url), range(50)))
    assert lane.token_requests() == 1, lane.token_requests()
    assert len({answer["iframe_url"] for answer in answers}) == 1
    for answer in answers:
        assert 3500 < answer["expires_in"] <= 3600, answer["expires_in"]


def the_frame_opens(host, authority):
    lane = authority.lane()
    with back_end(host, lane) as url:
        status, _, page = programs.get(handed_out(url)["iframe_url"])
    assert status == 200 and "The token is good" in page, status
    for kind in ("token", "api"):
        for request in lane.log(kind):
            assert request["problems"] == [], request


def only_known_origins(host, authority):
    lane = authority.lane()
    with back_end(host, lane) as url:
        for stranger in ("https://evil.example", "null", "http://shop.example", f"{SHOP}.evil.example", f"{SHOP}/", ""):
            status, headers, body = programs.get(f"{url}phoenix", {"origin": stranger})
            assert status == 403 and body == "", (stranger, status)
            assert "access-control-allow-origin" not in headers, stranger
        assert lane.token_requests() == 0, "a stranger costs a token request"
        _, headers, _ = answered(url, {"origin": SHOP})
        assert headers["access-control-allow-origin"] == SHOP
        _, headers, _ = answered(url)
        assert "access-control-allow-origin" not in headers


def nothing_else_is_served(host, authority):
    lane = authority.lane()
    with back_end(host, lane) as url:
        status, headers, page = programs.get(url)
        assert status == 200 and headers["content-type"].startswith("text/html") and "<iframe" in page
        # Not even the files beside the page, one of which is the program.
        for path in ("server.mjs", "server.py", "page.html", "../README.md", "phoenix/", "%2e%2e/README.md"):
            assert programs.get(url + path)[0] == 404, path
    assert lane.token_requests() == 0


def the_token_ends_and_nobody_sees_it(host, authority):
    """An hour in seconds: a token lives 303 s, of which the page is promised 300."""
    lane = authority.lane()
    lane.settings(provider="phoenix-market", lifetime_s=303)
    tokens = set()
    with back_end(host, lane) as url:
        end = time.monotonic() + 8
        while time.monotonic() < end:
            answer = handed_out(url)
            assert 300 <= answer["expires_in"] <= 303, answer["expires_in"]
            assert programs.get(answer["iframe_url"])[0] == 200
            tokens.add(token_in(answer["iframe_url"]))
            time.sleep(0.1)
    assert 2 <= len(tokens) == lane.token_requests() <= 6, (len(tokens), lane.token_requests())


def an_outage_is_not_the_visitors(host, authority):
    lane = authority.lane()
    with back_end(host, lane) as url:
        first = handed_out(url)
        lane.fault(status=503)
        assert handed_out(url)["iframe_url"] == first["iframe_url"]


def an_outage_without_a_token(host, authority):
    """The page is told when to come back, and then there is a token."""
    lane = authority.lane()
    lane.fault(status=503, retry_after="2")
    with back_end(host, lane, complains=True) as url:
        status, headers, body = programs.get(f"{url}phoenix")
        assert status == 503 and body == "" and int(headers["retry-after"]) >= 1, (status, headers["retry-after"])
        assert page(url) == {"src": "", "status": "Phoenix is not available right now. Trying again …", "asked": 1}
        lane.control("DELETE", "faults")
        time.sleep(int(headers["retry-after"]))
        assert programs.get(handed_out(url)["iframe_url"])[0] == 200


def the_page_shows_the_frame_and_comes_back(host, authority):
    lane = authority.lane()
    with back_end(host, lane) as url:
        expected = handed_out(url)
        # The page's own script, with the clock moved on: before the token ends, it asks again.
        assert page(url, expected["expires_in"] - 90) == {"src": expected["iframe_url"], "status": "", "asked": 1}
        assert page(url, expected["expires_in"] - 30) == {"src": expected["iframe_url"], "status": "", "asked": 2}


def the_page_survives_a_restart_of_the_back_end(host, authority):
    lane = authority.lane()
    with back_end(host, lane) as url:
        shown = page(url, 10, "--first-request-fails")
        assert shown["asked"] == 2 and shown["src"] == handed_out(url)["iframe_url"], shown


@contextmanager
def back_end(host, lane, complains=False):
    """The story's server; its address. At the end, its output is searched for secrets."""
    words = ["node", str(STORY / "server.mjs")] if host == "node" else [sys.executable, str(STORY / "server.py")]
    variables = {**lane.environment("phoenix-market"), "ALLOWED_ORIGINS": f"https://other.example {SHOP}", "PORT": "0"}
    process = programs.start(words, variables)
    watchdog = threading.Timer(programs.SECONDS, process.kill)
    watchdog.start()
    try:
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:"), process.stderr.read()
        yield line.strip()
        assert process.poll() is None, "the server has ended"
    finally:
        watchdog.cancel()
        process.terminate()
        out, err = process.communicate(timeout=10)
        programs.no_secret(out + err)
        for issued in lane.log("token"):
            assert issued["issued_sha256"] is None or issued["issued_sha256"] not in out + err
    assert "access_token" not in out + err, "the token is in the log"
    assert complains or "Error" not in err and "Traceback" not in err, err


def handed_out(url):
    status, _, text = answered(url)
    assert status == 200
    return json.loads(text)


def answered(url, headers=None):
    """The answer to the page, which must be fit for no cache and hold no secret."""
    status, headers, text = programs.get(f"{url}phoenix", headers)
    assert status == 200, status
    assert headers["cache-control"] == "no-store", headers["cache-control"]
    assert headers["vary"].lower() == "origin", headers["vary"]
    programs.no_secret(f"{headers}{text}")
    answer = json.loads(text)
    assert answer.keys() == {"iframe_url", "expires_in"} and answer["expires_in"] >= 300, answer["expires_in"]
    return status, headers, text


def page(url, seconds=0, *words):
    """Runs the page's script without a browser; what it shows after so many seconds, and how often it asked the back end."""
    run = ["node", str(Path(__file__).with_name("page.mjs")), url, str(seconds), *words]
    done = subprocess.run(run, stdout=subprocess.PIPE, text=True, timeout=programs.SECONDS, check=True)
    return json.loads(done.stdout)


def token_in(iframe_url):
    (token,) = parse_qs(urlsplit(iframe_url).query)["access_token"]
    return token


TESTS = [
    (BOTH, test)
    for test in (
        fifty_visitors_one_token_request,
        the_frame_opens,
        only_known_origins,
        nothing_else_is_served,
        the_token_ends_and_nobody_sees_it,
        an_outage_is_not_the_visitors,
        an_outage_without_a_token,
        the_page_shows_the_frame_and_comes_back,
        the_page_survives_a_restart_of_the_back_end,
    )
]
