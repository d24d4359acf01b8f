#!/usr/bin/env python3
"""Holds every profile and every vector to its published schema, and ends with `N passed, N failed`.

A profile in a vector is held to the schema too: what the library takes must be valid, and what it refuses must not be, but for what a
schema can't say.
"""

import json
import sys
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "tests" / "vectors"


def main():
    profile = validator(ROOT / "core" / "profiles" / "schema.json")
    vector = validator(VECTORS / "schema.json")
    results = []

    def check(title, problem):
        results.append(problem is None)
        if problem is not None:
            print(f"FAILED  {title}: {problem}")

    profiles = [*(ROOT / "core" / "profiles").glob("*.json"), *(ROOT / "examples" / "profiles").glob("*.json")]
    for path in sorted(profiles):
        if path.name != "schema.json":
            check(shown(path), named(path, json.loads(path.read_text("utf-8"))) or problem(profile, path))
    for path in sorted(set(VECTORS.glob("*.json")) - {VECTORS / "schema.json", VECTORS / "index.json"}):
        check(shown(path), problem(vector, path))
        for title, document, refused in documents(path):
            error = best_match(profile.iter_errors(document))
            if refused:
                told = error is None and title not in BEYOND_A_SCHEMA
                check(f"{shown(path)}: {title}", "the schema takes what the library refuses" if told else None)
            else:
                check(f"{shown(path)}: {title}", error and place(error))
    print(f"{sum(results)} passed, {len(results) - sum(results)} failed")
    return not results or not all(results)


def validator(path):
    schema = json.loads(path.read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def problem(schema, path):
    error = best_match(schema.iter_errors(json.loads(path.read_text("utf-8"))))
    return error and place(error)


def place(error):
    return f"/{'/'.join(str(part) for part in error.absolute_path)}: {error.message[:300]}"


def named(path, document):
    """An editor finds the schema by `$schema`, and a person the profile by its name."""
    if (path.parent / document["$schema"]).resolve() != ROOT / "core" / "profiles" / "schema.json":
        return f"`$schema` is {document['$schema']}, and leads elsewhere"
    return None if document["name"] == path.stem else f"the profile is called {document['name']}"


def documents(path):
    """The profiles in a file of vectors, and whether the library refuses them."""
    found = json.loads(path.read_text("utf-8"))
    vectors = found if isinstance(found, list) else found.get("vectors", [found])
    for vector in vectors:
        profile = vector["given"].get("profile")
        if isinstance(profile, dict):
            yield vector.get("id", vector["title"]), profile, vector.get("refused", {}).get("fail") == "invalid_profile"


def shown(path):
    return path.relative_to(ROOT)


BEYOND_A_SCHEMA = {
    # What several members have to do with each other.
    "profiles/unknown-variable",
    "profiles/unused-variable",
    "profile-words/body-get",
    # The options that all clients have: theirs is another list.
    "profiles/variable-named-like-an-option",
    # What a text means once its variables are filled in.
    "profiles/header-value",
    "profile-words/client-id-elsewhere",
    "profile-words/refresh-endpoint-http",
    "oauth2-rs/revocation-http",
    "profiles/origin-with-http",
    "refusals/discovery-issuer-http",
    "refusals/discovery-issuer-query",
    "refusals/endpoint-fragment",
    "refusals/endpoint-http",
    "requests/credentials-in-endpoint",
    "requests/endpoint-fragment",
    "requests/http-endpoint",
    "requests/http-loopback-unnamed",
    "requests/http-not-loopback-any",
    "requests/http-not-loopback-lookalike",
    "requests/http-not-loopback-number",
    "requests/http-not-loopback-private",
}

if __name__ == "__main__":
    sys.exit(main())
