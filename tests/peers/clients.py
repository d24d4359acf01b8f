"""The clients that every server knows, and the person who signs in. Each server makes of a description what it calls that."""

USER = {"name": "ann", "password": "a person's password"}
# Who vouches for people in assertions, and what it calls that person.
VOUCHER = {"issuer": "https://people.example", "subject": "employee 7", "client": "bearer"}
REDIRECT_URI = "https://app.example/callback"

# Every character that the two encodings of Basic, forms and URLs treat differently.
ODD = "we:ird +%&~"

CODE = ["authorization_code", "refresh_token"]
DEVICE = ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"]
CIBA = ["urn:openid:params:grant-type:ciba", "refresh_token"]
TOKEN_EXCHANGE = ["urn:ietf:params:oauth:grant-type:token-exchange"]
JWT_BEARER = ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
CREDENTIALS = ["client_credentials"]

# `grant` is what the client under test is told, `grants` what the server lets it use; `alg` is that of the key it signs with.
CLIENTS = {
    "odd id:basic": {"secret": ODD, "method": "client_secret_basic", "grant": "client_credentials", "grants": CREDENTIALS},
    "odd id+post": {"secret": ODD + "=?#", "method": "client_secret_post", "grant": "client_credentials", "grants": CREDENTIALS},
    # Basic without form-encoding can't be decoded.
    "percent": {"secret": "100%&more", "method": "client_secret_basic", "grant": "client_credentials", "grants": CREDENTIALS},
    # Read as form-encoded, these are other characters.
    "plus": {"secret": "one+two%20three", "method": "client_secret_basic", "grant": "client_credentials", "grants": CREDENTIALS},
    # The same in both encodings, for a server that knows only the raw one.
    "plain-basic": {"secret": "nothing.odd-here", "method": "client_secret_basic", "grant": "client_credentials", "grants": CREDENTIALS},
    "plain-post": {"secret": "nothing.odd_there", "method": "client_secret_post", "grant": "client_credentials", "grants": CREDENTIALS},
    # It asks what a token is worth, for the API beside a server and for itself.
    "api": {"secret": "a resource server's", "method": "client_secret_basic", "grant": "client_credentials", "grants": CREDENTIALS},
    "web": {"secret": ODD + "/web", "method": "client_secret_basic", "grant": "authorization_code", "grants": CODE, "consent": True},
    # Nobody has consented to it yet.
    "unwanted": {"secret": ODD + "/unwanted", "method": "client_secret_basic", "grant": "authorization_code", "grants": CODE, "consent": True},
    "public": {"secret": None, "method": "none", "grant": "authorization_code", "grants": CODE},
    "secret-jwt": {
        "secret": "as long as the hash of HS256 or longer",
        "method": "client_secret_jwt",
        "alg": "HS256",
        "grant": "client_credentials",
        "grants": CREDENTIALS,
    },
    **{
        f"key-{alg}": {"secret": None, "method": "private_key_jwt", "alg": alg, "grant": "client_credentials", "grants": CREDENTIALS}
        for alg in ("ES256", "ES384", "RS256", "PS256", "EdDSA")
    },
    "tls": {"secret": None, "method": "tls_client_auth", "grant": "client_credentials", "grants": CREDENTIALS},
    "self-signed": {"secret": None, "method": "self_signed_tls_client_auth", "grant": "client_credentials", "grants": CREDENTIALS},
    "television": {"secret": "on a shelf", "method": "client_secret_basic", "grant": "device_code", "grants": DEVICE},
    "remote": {"secret": None, "method": "none", "grant": "device_code", "grants": DEVICE},
    "till": {"secret": "at the counter", "method": "client_secret_basic", "grant": "ciba", "grants": CIBA},
    "exchanger": {"secret": "between services", "method": "client_secret_basic", "grant": "token_exchange", "grants": TOKEN_EXCHANGE},
    "bearer": {"secret": "with an assertion", "method": "client_secret_basic", "alg": "ES256", "grant": "jwt_bearer", "grants": JWT_BEARER},
    "pushed": {"secret": "pushed before", "method": "client_secret_basic", "grant": "authorization_code", "grants": CODE, "par": True},
    "bound": {"secret": "bound to a key", "method": "client_secret_basic", "grant": "client_credentials", "grants": CREDENTIALS, "dpop": True},
    "nonced": {"secret": "bound with a nonce", "method": "client_secret_basic", "grant": "client_credentials", "grants": CREDENTIALS, "dpop": True, "nonce": True},
    "bound-web": {"secret": "bound to a person's key", "method": "client_secret_basic", "grant": "authorization_code", "grants": CODE, "dpop": True},
    "signed-request": {
        "secret": None,
        "method": "private_key_jwt",
        "alg": "ES256",
        "grant": "authorization_code",
        "grants": CODE,
        "request_object": True,
    },
    "detailed": {"secret": "with details", "method": "client_secret_basic", "grant": "authorization_code", "grants": CODE, "details": ["payment"]},
    "signed-answer": {"secret": "asks for a JWT", "method": "client_secret_basic", "grant": "authorization_code", "grants": CODE, "jarm": "RS256"},
    "answered-by-secret": {
        "secret": "as long as the hash of HS256, for answers",
        "method": "client_secret_basic",
        "grant": "authorization_code",
        "grants": CODE,
        "jarm": "HS256",
    },
    "fapi": {
        "secret": None,
        "method": "private_key_jwt",
        "alg": "PS256",
        "grant": "authorization_code",
        "grants": CODE,
        "par": True,
        "dpop": True,
    },
}
