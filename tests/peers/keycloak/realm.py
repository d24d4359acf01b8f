"""What Keycloak is told over its admin API when it has started: one realm with everything in it."""

import json

from clients import CLIENTS, CODE, REDIRECT_URI, USER, VOUCHER

# Of the clients of the list, those that are beyond it: it has no self-signed certificates.
BEYOND = {"self_signed_tls_client_auth"}
# What it calls the one that vouches for people.
ALIAS = "people"
AUTHENTICATORS = {
    "client_secret_basic": "client-secret",
    "client_secret_post": "client-secret",
    "client_secret_jwt": "client-secret-jwt",
    "private_key_jwt": "client-jwt",
    "tls_client_auth": "client-x509",
}


def realm(name, keys):
    return {
        "realm": name,
        "enabled": True,
        "sslRequired": "none",
        "accessTokenLifespan": 3600,
        # Every refresh token is for one use, and its return ends the session.
        "revokeRefreshToken": True,
        "refreshTokenMaxReuse": 0,
        "bruteForceProtected": False,
        "passwordPolicy": "hashIterations(1)",
        "attributes": {"cibaBackchannelTokenDeliveryMode": "poll", "cibaAuthRequestedUserHint": "login_hint", "oauth2DevicePollingInterval": "1", "cibaInterval": "1"},
        "users": [
            {
                "username": USER["name"],
                "enabled": True,
                "emailVerified": True,
                "email": "ann@app.example",
                "firstName": "Ann",
                "lastName": "Example",
                "credentials": [{"type": "password", "value": USER["password"]}],
                "federatedIdentities": [{"identityProvider": ALIAS, "userId": VOUCHER["subject"], "userName": USER["name"]}],
            }
        ],
        "identityProviders": [voucher(keys)],
        "clientScopes": [scope("read"), scope("write"), subject()],
        # What a client that registers itself has, and may ask for.
        "defaultDefaultClientScopes": ["subject"],
        "defaultOptionalClientScopes": ["read", "write"],
        "clients": [client(client_id, described, keys) for client_id, described in CLIENTS.items() if described["method"] not in BEYOND],
    }


def client(client_id, described, keys):
    grants, method = described["grants"], described["method"]
    attributes = {
        "oauth2.device.authorization.grant.enabled": "urn:ietf:params:oauth:grant-type:device_code" in grants,
        "oidc.ciba.grant.enabled": "urn:openid:params:grant-type:ciba" in grants,
        "standard.token.exchange.enabled": "urn:ietf:params:oauth:grant-type:token-exchange" in grants,
        "oauth2.jwt.authorization.grant.enabled": "urn:ietf:params:oauth:grant-type:jwt-bearer" in grants,
        "oauth2.jwt.authorization.grant.idp": ALIAS,
        "require.pushed.authorization.requests": described.get("par", False),
        "dpop.bound.access.tokens": described.get("dpop", False),
        "access.token.header.type.rfc9068": True,
        "use.refresh.tokens": True,
        "client_credentials.use_refresh_token": False,
        "pkce.code.challenge.method": "S256" if grants == CODE else "",
    }
    if method == "private_key_jwt":
        attributes |= {"use.jwks.string": True, "jwks.string": json.dumps(keys.jwks(client_id)), "token.endpoint.auth.signing.alg": described["alg"]}
    if described.get("request_object"):
        attributes |= {"request.object.required": "request only", "request.object.signature.alg": described["alg"]}
    if described.get("jarm"):
        # Else it writes its issuer into the signed answer once as a claim and once as a parameter.
        attributes |= {"exclude.issuer.from.auth.response": True}
    if method == "client_secret_jwt":
        attributes |= {"token.endpoint.auth.signing.alg": described["alg"]}
    if method == "tls_client_auth":
        attributes |= {"x509.subjectdn": f"CN={client_id}", "x509.allow.regex.pattern.comparison": False, "tls.client.certificate.bound.access.tokens": True}
    return {
        "clientId": client_id,
        "enabled": True,
        "publicClient": method == "none",
        "clientAuthenticatorType": AUTHENTICATORS.get(method, "client-secret"),
        **({"secret": described["secret"]} if described["secret"] else {}),
        "redirectUris": [REDIRECT_URI],
        "standardFlowEnabled": grants == CODE,
        "directAccessGrantsEnabled": False,
        "serviceAccountsEnabled": "client_credentials" in grants,
        "consentRequired": described.get("consent", False),
        "fullScopeAllowed": True,
        "defaultClientScopes": ["subject"],
        "optionalClientScopes": ["read", "write", "offline_access"],
        "attributes": {name: str(value).lower() if isinstance(value, bool) else value for name, value in attributes.items()},
    }


def voucher(keys):
    """Whose assertions about people are taken, each once and for no longer than five minutes."""
    config = {
        "jwtAuthorizationGrantEnabled": True,
        "issuer": VOUCHER["issuer"],
        "useJwksUrl": False,
        "publicKeySignatureVerifier": json.dumps(keys.jwks(VOUCHER["client"])),
    }
    return {
        "alias": ALIAS,
        "providerId": "jwt-authorization-grant",
        "enabled": True,
        "config": {name: str(value).lower() if isinstance(value, bool) else value for name, value in config.items()},
    }


def scope(name):
    """A scope. Whoever asks what such a token is worth must be in its audience."""
    mapper = {
        "name": "api",
        "protocol": "openid-connect",
        "protocolMapper": "oidc-audience-mapper",
        "config": {"included.client.audience": "api", "access.token.claim": "true", "introspection.token.claim": "true"},
    }
    exchanger = {**mapper, "name": "exchanger", "config": {**mapper["config"], "included.client.audience": "exchanger"}}
    return {
        "name": name,
        "protocol": "openid-connect",
        "attributes": {"include.in.token.scope": "true", "display.on.consent.screen": "true"},
        "protocolMappers": [mapper, exchanger],
    }


def subject():
    """`sub`, which only scopes give."""
    return {
        "name": "subject",
        "protocol": "openid-connect",
        "attributes": {"include.in.token.scope": "false", "display.on.consent.screen": "false"},
        "protocolMappers": [
            {
                "name": "sub",
                "protocol": "openid-connect",
                "protocolMapper": "oidc-sub-mapper",
                "config": {"access.token.claim": "true", "introspection.token.claim": "true"},
            }
        ],
    }
