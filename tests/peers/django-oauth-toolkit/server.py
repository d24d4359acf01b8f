"""django-oauth-toolkit, configured for the tests. It listens on a free loopback port, prints one line of JSON that says where everything is, and ends when
its standard input does."""

import json
import os
import socketserver
import sys
import tempfile
import threading
from pathlib import Path
from wsgiref import simple_server

METHODS = ("client_secret_basic", "client_secret_post", "none")
# Here a client has one grant; refreshing goes with the code.
GRANTS = {
    "client_credentials": "client-credentials",
    "authorization_code": "authorization-code",
    "device_code": "urn:ietf:params:oauth:grant-type:device_code",
}
LOGIN_PAGE = '<form method="post">{% csrf_token %}{{ form }}<input type="submit"></form>'


def configure(folder, grace, key):
    from django.conf import settings

    settings.configure(
        SECRET_KEY="only for the tests",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "db.sqlite3", "OPTIONS": {"timeout": 20}}},
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.staticfiles",
            "oauth2_provider",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "loaders": [
                        ("django.template.loaders.locmem.Loader", {"registration/login.html": LOGIN_PAGE}),
                        "django.template.loaders.app_directories.Loader",
                    ],
                    "context_processors": ["django.template.context_processors.request"],
                },
            }
        ],
        # Logging in is not what is tested here, and the slow hashes would be most of the time.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        STATIC_URL="/static/",
        LOGIN_URL="/login/",
        LOGGING_CONFIG=None,
        # Tables come straight from the models: the history of the tables takes seconds.
        MIGRATION_MODULES={app: None for app in ("auth", "contenttypes", "sessions", "oauth2_provider")},
        OAUTH2_PROVIDER={
            "SCOPES": {"read": "Read things", "write": "Write things"},
            "DEFAULT_SCOPES": ["read"],
            "ACCESS_TOKEN_EXPIRE_SECONDS": 3600,
            "ROTATE_REFRESH_TOKEN": True,
            "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": grace,
            "REFRESH_TOKEN_REUSE_PROTECTION": True,
            "PKCE_REQUIRED": True,
            "OIDC_ENABLED": True,
            "OIDC_RSA_PRIVATE_KEY": key,
            "COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS": True,
        },
    )
    import django

    django.setup()


def fill(clients, user, redirect_uri):
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from oauth2_provider.models import get_application_model

    call_command("migrate", run_syncdb=True, verbosity=0)
    get_user_model().objects.create_user(user["name"], password=user["password"])
    for client_id, client in clients.items():
        if client["method"] not in METHODS or client["grant"] not in GRANTS:
            continue
        get_application_model().objects.create(
            client_id=client_id,
            client_secret=client["secret"] or "",
            client_type="confidential" if client["secret"] else "public",
            authorization_grant_type=GRANTS[client["grant"]],
            redirect_uris=redirect_uri,
        )


def routes():
    from django.contrib.auth.views import LoginView
    from django.http import HttpResponse, JsonResponse
    from django.urls import include, path
    from django.utils.timezone import now
    from django.views.decorators.csrf import csrf_exempt
    from oauth2_provider import urls
    from oauth2_provider.decorators import protected_resource
    from oauth2_provider.models import get_access_token_model

    @protected_resource(scopes=["read"], advertise_metadata=True)
    def api(request):
        owner = request.resource_owner
        return JsonResponse({"subject": owner and owner.username})

    @csrf_exempt
    def forget(request):
        get_access_token_model().objects.filter(token=request.body.decode()).update(expires=now())
        return HttpResponse(status=204)

    def counts(request):
        return JsonResponse(Counted.counts)

    return [
        path("login/", LoginView.as_view()),
        path("o/", include((urls.base_urlpatterns + urls.oidc_urlpatterns, urls.app_name))),
        path("", include((urls.metadata_urlpatterns, urls.app_name), namespace="metadata")),
        path("peers/api", api),
        path("peers/forget", forget),
        path("peers/counts", counts),
    ]


class Counted:
    """The requests that arrived, whatever becomes of them."""

    counts = {"token": 0, "api": 0}
    lock = threading.Lock()

    def __init__(self, application):
        self.application = application

    def __call__(self, environ, start_response):
        name = {"/o/token/": "token", "/peers/api": "api"}.get(environ["PATH_INFO"])
        if name:
            with self.lock:
                self.counts[name] += 1
        return self.application(environ, start_response)


class Server(socketserver.ThreadingMixIn, simple_server.WSGIServer):
    daemon_threads = True
    request_queue_size = 128


class Handler(simple_server.WSGIRequestHandler):
    def log_message(self, *_):
        """Nothing: request lines hold codes."""


def main():
    options = json.loads(sys.argv[1])
    with tempfile.TemporaryDirectory(prefix="remint-peer-") as folder:
        configure(Path(folder), options["grace"], options["key"])
        fill(options["clients"], options["user"], options["redirect_uri"])
        urlpatterns.extend(routes())

        from django.core.wsgi import get_wsgi_application
        from oauth2_provider.settings import oauth2_settings

        server = simple_server.make_server("127.0.0.1", 0, Counted(get_wsgi_application()), Server, Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_port}"
        # Where a device sends people, known when the port is.
        oauth2_settings.OAUTH_DEVICE_VERIFICATION_URI = f"{root}/o/device/"
        addresses = {
            "base_url": root,
            "issuer": f"{root}/o",
            "token_endpoint": f"{root}/o/token/",
            "authorization_endpoint": f"{root}/o/authorize/",
            "revocation_endpoint": f"{root}/o/revoke_token/",
            "introspection_endpoint": f"{root}/o/introspect/",
            "api": f"{root}/peers/api",
            "forget": f"{root}/peers/forget",
            "counts": f"{root}/peers/counts",
        }
        print(json.dumps(addresses), flush=True)
        sys.stdin.read()


# Django imports this module by name for its routes, which can't be made before it is configured.
urlpatterns = []

if __name__ == "__main__":
    main()
    os._exit(0)
