"""What Glewlwyd is told: its file, its first database, and the rest over its API when it has started."""

import gzip
import json
import sqlite3
import urllib.request
from http.cookiejar import CookieJar

from clients import CLIENTS, CODE, REDIRECT_URI, USER

# Of the clients of the list, those that are beyond it.
BEYOND = {"self_signed_tls_client_auth"}
GRANTS = {
    "authorization_code": "code",
    "urn:ietf:params:oauth:grant-type:device_code": "device_authorization",
}
# The clients' properties that its database has no place for unless told.
PROPERTIES = ["tls_client_auth_subject_dn", "dpop_client_bound", "authorization_signed_response_alg"]


def write(folder, root, port, url, tls):
    """The file that it starts with, and the database that it comes with."""
    scripts = root / "usr" / "share" / "doc" / "glewlwyd" / "database"
    with sqlite3.connect(folder / "glewlwyd.db") as database:
        database.executescript(gzip.decompress((scripts / "init.sqlite3.sql.gz").read_bytes()).decode())
    database.close()
    modules = root / "usr" / "lib" / "glewlwyd"
    values = {
        "port": port,
        "bind_address": "127.0.0.1",
        "external_url": url,
        "login_url": "login.html",
        "api_prefix": "api",
        "log_mode": "console",
        "log_level": "WARNING",
        "cookie_secure": 0,
        "session_key": "GLEWLWYD2_SESSION_ID",
        "session_expiration": 86400,
        "admin_scope": "g_admin",
        "profile_scope": "g_profile",
        "user_module_path": str(modules / "user"),
        "client_module_path": str(modules / "client"),
        "user_auth_scheme_module_path": str(modules / "scheme"),
        "plugin_module_path": str(modules / "plugin"),
        # Logging in is not what is tested here.
        "hash_algorithm": "SHA512",
        **tls,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    lines.append(f'database = {{ type = "sqlite3" path = {json.dumps(str(folder / "glewlwyd.db"))} }};')
    (folder / "glewlwyd.conf").write_text("\n".join(lines) + "\n")


class Session:
    """A browser's session at Glewlwyd: its pages are a program that uses this API."""

    def __init__(self, url):
        self.url = url
        self.cookies = CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def sign_in(self, name, password):
        self.send("POST", "auth/", {"username": name, "password": password})

    def send(self, method, path, value=None):
        body = None if value is None else json.dumps(value).encode()
        asked = urllib.request.Request(f"{self.url}/api/{path}", body, {"content-type": "application/json"}, method=method)
        with self.opener.open(asked, timeout=30) as answer:
            return json.loads(answer.read() or "null")


def configure(url, issuer_root, keys):
    """Everything that is not in its file."""
    admin = Session(url)
    admin.sign_in("admin", "password")
    module = admin.send("GET", "mod/client/database")
    for name in PROPERTIES:
        module["parameters"]["data-format"][name] = {"multiple": False, "read": True, "write": True}
    admin.send("PUT", "mod/client/database", module)
    admin.send("PUT", "mod/client/database/reset")
    for scope in ("read", "write"):
        admin.send("POST", "scope/", {"name": scope, "display_name": scope, "description": scope, "password_required": True})
    admin.send("POST", "user/", {"username": USER["name"], "name": "Ann", "password": USER["password"], "scope": ["openid", "read", "write"], "enabled": True})
    for client_id, described in CLIENTS.items():
        if described["method"] not in BEYOND:
            admin.send("POST", "client/", client(client_id, described, keys))
    for name in ("oidc", "nonced"):
        admin.send("POST", "mod/plugin/", plugin(name, f"{issuer_root}/api/{name}", keys))
    person = Session(url)
    person.sign_in(**{"name": USER["name"], "password": USER["password"]})
    for client_id, described in CLIENTS.items():
        if described["grants"] == CODE:
            person.send("PUT", f"auth/grant/{client_id}", {"scope": "read write openid"})
    return person


def client(client_id, described, keys):
    method = described["method"]
    told = {
        "client_id": client_id,
        "name": client_id,
        "enabled": True,
        "confidential": method != "none",
        "scope": ["read", "write", "openid"],
        "redirect_uri": [REDIRECT_URI],
        "authorization_type": [GRANTS.get(grant, grant) for grant in described["grants"]],
        "token_endpoint_auth_method": [method],
    }
    if "urn:openid:params:grant-type:ciba" in described["grants"]:
        told["backchannel_token_delivery_mode"] = "poll"
    if described["secret"]:
        told["client_secret"] = described["secret"]
    if method.endswith("_jwt"):
        told["token_endpoint_signing_alg"] = described["alg"]
    if method == "private_key_jwt":
        told["jwks"] = keys.jwks(client_id)
    if method == "tls_client_auth":
        told["tls_client_auth_subject_dn"] = keys.certificates[client_id].subject
    if described.get("dpop"):
        told["dpop_client_bound"] = "1"
    return told


def plugin(name, issuer, keys):
    parameters = {
        "iss": issuer,
        "jwt-type": "rsa",
        "jwt-key-size": "256",
        "key": keys.signing["key-RS256"].pem,
        "cert": keys.signing["key-RS256"].public_pem,
        "access-token-duration": 3600,
        "refresh-token-duration": 86400,
        "code-duration": 600,
        "refresh-token-rolling": True,
        "refresh-token-one-use": "always",
        "allow-non-oidc": True,
        "auth-type-code-enabled": True,
        "auth-type-code-revoke-replayed": True,
        "auth-type-token-enabled": False,
        "auth-type-id-token-enabled": False,
        "auth-type-password-enabled": False,
        "auth-type-client-enabled": True,
        "auth-type-refresh-enabled": True,
        "auth-type-device-enabled": True,
        "device-authorization-expiration": 600,
        "device-authorization-interval": 1,
        "pkce-allowed": True,
        "pkce-required": True,
        "pkce-method-plain-allowed": False,
        "introspection-revocation-allowed": True,
        "introspection-revocation-allow-target-client": True,
        # With a scope for it, clients may ask about the tokens of others, too.
        "introspection-revocation-auth-scope": ["write"],
        "request-parameter-allow": True,
        "request-parameter-ietf-strict": True,
        "client-jwks-parameter": "jwks",
        "oauth-as-iss-id": True,
        "oauth-par-allowed": True,
        "oauth-par-required": False,
        "oauth-par-request_uri-prefix": "urn:ietf:params:oauth:request_uri:",
        "oauth-par-duration": 90,
        "oauth-dpop-allowed": True,
        "oauth-dpop-iat-duration": 60,
        "oauth-dpop-iat-gap-duration": 5,
        "oauth-dpop-dpop_bound_access_tokens-property": "dpop_client_bound",
        "oauth-dpop-nonce-mandatory": name == "nonced",
        "oauth-dpop-nonce-counter": 5,
        "oauth-ciba-allowed": True,
        "oauth-ciba-default-expiry": 600,
        "oauth-ciba-maximum-expiry": 1200,
        "oauth-ciba-mode-poll-allowed": True,
        "oauth-ciba-mode-ping-allowed": False,
        "oauth-ciba-mode-push-allowed": False,
        "oauth-ciba-allow-https-non-secure": True,
        "oauth-ciba-user-code-allowed": False,
        "oauth-ciba-email-allowed": False,
        "oauth-fapi-allow-jarm": True,
        # Whoever may do something with that scope may register clients.
        "register-client-allowed": True,
        "register-client-auth-scope": ["write"],
        "register-client-credentials-scope": ["read"],
        "register-client-management-allowed": True,
        "register-default-properties": {},
        "client-cert-source": "TLS",
        "client-cert-use-endpoint-aliases": True,
        "client-cert-self-signed-allowed": False,
        "resource-allowed": True,
        "resource-scope": {"read": ["https://one.api.example/", "https://two.api.example/"]},
    }
    return {"module": "oidc", "name": name, "display_name": name, "enabled": True, "parameters": parameters}
