"""Django's settings, from the environment only; a secret may lie in a file named by `<NAME>_FILE`.

Required: DATABASE_URL, REDIS_URL, BURSAR_KEY_PEPPER, BURSAR_CREDENTIAL_KEY, BURSAR_SECRET_KEY.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF
from django.templatetags.static import static

from control_plane.environment import (
    broker_from,
    database_from,
    flag_from,
    list_from,
    networks_from,
    only_loopback,
    seconds_from,
)
from control_plane.identity.configuration import local_login_from, providers_from, sign_in_origins_from
from control_plane.navigation import NAVIGATION
from kong_plugins.llm.settings import secret_from

_HERE = Path(__file__).parent

SECRET_KEY = secret_from(os.environ, "BURSAR_SECRET_KEY")
REDIS_URL = secret_from(os.environ, "REDIS_URL")
REDIS_TIMEOUT_MS = 1_000
KEY_PEPPER = secret_from(os.environ, "BURSAR_KEY_PEPPER")
CREDENTIAL_KEY = secret_from(os.environ, "BURSAR_CREDENTIAL_KEY")
DATABASES = {"default": database_from(secret_from(os.environ, "DATABASE_URL"))}

DEBUG = flag_from(os.environ, "BURSAR_DEBUG")
ALLOWED_HOSTS = list_from(os.environ, "BURSAR_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]")
CSRF_TRUSTED_ORIGINS = list_from(os.environ, "BURSAR_CSRF_TRUSTED_ORIGINS")
# Browsers reach it over a network, and thus over HTTPS only.
_IS_PUBLIC = not (DEBUG or only_loopback(ALLOWED_HOSTS))
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = _IS_PUBLIC
SECURE_HSTS_SECONDS = seconds_from(os.environ, "BURSAR_HSTS_SECONDS", 31_536_000) if _IS_PUBLIC else 0
# Those who ask for its health stand on its own side of the proxy.
SECURE_REDIRECT_EXEMPT = ["^api/v1/health"]
# `protection.known_client` lets the header through from these only.
TRUSTED_PROXIES = networks_from(os.environ, "BURSAR_TRUSTED_PROXIES")
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
# What other names of the domain serve is not ours to decide, nor is the list that browsers come with.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SESSION_COOKIE_AGE = seconds_from(os.environ, "BURSAR_SESSION_SECONDS", 43_200)
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440
SESSION_COOKIE_NAME = "bursar_session"
CSRF_COOKIE_NAME = "bursar_csrf"
CSRF_COOKIE_HTTPONLY = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}

ROOT_URLCONF = "control_plane.urls"
WSGI_APPLICATION = "control_plane.wsgi.application"
AUTH_USER_MODEL = "teams.User"
AUTHENTICATION_BACKENDS = ["control_plane.rights.backend.RightsBackend"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "admin:index"

# How people come in: docs/single-sign-on.md.
LOCAL_LOGIN = local_login_from(os.environ)
REQUIRE_TWO_FACTOR = flag_from(os.environ, "BURSAR_REQUIRE_TWO_FACTOR")
SIGN_IN_ORIGINS = sign_in_origins_from(os.environ)
SOCIALACCOUNT_PROVIDERS = providers_from(os.environ)
SOCIALACCOUNT_ADAPTER = "control_plane.identity.adapters.ProviderAdapter"
SOCIALACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_OPENID_CONNECT_URL_PREFIX = ""
ACCOUNT_ADAPTER = "control_plane.identity.adapters.AccountAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*"]
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_SESSION_COOKIE_AGE = SESSION_COOKIE_AGE
ACCOUNT_REAUTHENTICATION_TIMEOUT = 900
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "20/m/ip,5/5m/key", "reauthenticate": "10/m/user"}
MFA_ADAPTER = "control_plane.identity.adapters.TwoFactorAdapter"
MFA_SUPPORTED_TYPES = ["totp", "recovery_codes"]
MFA_TOTP_ISSUER = "Bursar"
# Whoever administers gives out accounts and addresses; nobody makes their own.
MFA_ALLOW_UNVERIFIED_EMAIL = True
# Counts of log-ins that failed: where every process sees them, and where people log in while Redis is away.
CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache", "LOCATION": "identity_cache"}}

INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.postgres",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.socialaccount.providers.saml",
    "allauth.mfa",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "control_plane.api",
    "control_plane.catalog",
    "control_plane.teams",
    "control_plane.routing",
    "control_plane.keys",
    "control_plane.budgets",
    "control_plane.releases",
    "control_plane.ledger",
    "control_plane.forecasts",
    "control_plane.alerts",
    "control_plane.audit",
    "control_plane.identity",
]

# Widgets are rendered as pages are, so that a widget of our own has its template among theirs.
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

MIDDLEWARE = [
    "control_plane.protection.known_client",
    "control_plane.protection.named_request",
    "control_plane.protection.bounded_body",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "control_plane.protection.narrow_pages",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "control_plane.audit.requests.ActingMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "control_plane.identity.two_factor.require_two_factor",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [_HERE / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "control_plane.identity.pages.of_the_site",
            ],
        },
    },
]

PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

# Served from the packages themselves, or, where it is named, from the folder that collectstatic has filled: compressed,
# and under names with a hash, so that browsers keep them for good.
STATIC_URL = "/static/"
STATICFILES_DIRS = [Path(__file__).parent / "static"]
STATIC_ROOT = os.environ.get("BURSAR_STATIC_ROOT") or None
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_AUTOREFRESH = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"
        if STATIC_ROOT
        else "django.contrib.staticfiles.storage.StaticFilesStorage"
    },
}

# Django's own default keeps errors to itself unless DEBUG is set.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "control_plane.protection.RequestIdFilter"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": [], "level": "WARNING", "propagate": True},
        # What callers got wrong is in the access log.
        "django.request": {"level": "ERROR"},
        "control_plane": {"level": "INFO"},
    },
}

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "control_plane.api.authentication.TokenAuthentication",
        "control_plane.api.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "control_plane.api.permissions.HasScope",
    ],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["control_plane.api.parsers.ClearJsonParser"],
    "EXCEPTION_HANDLER": "control_plane.api.problems.problem_response",
    "UNAUTHENTICATED_USER": None,
    "URL_FORMAT_OVERRIDE": None,
    "DEFAULT_SCHEMA_CLASS": "control_plane.api.description.Description",
}
# `make openapi` writes docs/openapi.yaml; /api/v1/docs shows it, with nothing from anywhere else.
SPECTACULAR_SETTINGS = {
    "TITLE": "Bursar",
    "VERSION": "1",
    "DESCRIPTION": "Budgets, limits, keys and spend of LLM traffic. How to begin is in docs/api.md.",
    "LICENSE": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "COMPONENT_SPLIT_REQUEST": True,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "docExpansion": "none", "defaultModelsExpandDepth": 0},
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {"Tier": "control_plane.teams.models.TIERS", "Role": "control_plane.rights.roles.ROLES"},
}

CELERY_BROKER_URL = broker_from(os.environ, REDIS_URL)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3_600}
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
# Far below the visibility timeout, after which the broker would hand a running task out again.
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_TIME_LIMIT = 300
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"

_SWEEP_SECONDS = seconds_from(os.environ, "BURSAR_SWEEP_SECONDS", 5)
_SCHEDULE_SECONDS = {
    "control_plane.ledger.tasks.sweep_expired_holds": _SWEEP_SECONDS,
    "control_plane.ledger.tasks.aggregate_days": 10,
    "control_plane.ledger.tasks.reprice": 60,
    "control_plane.ledger.tasks.reconcile": 60,
    "control_plane.ledger.tasks.trim_streams": 60,
    "control_plane.ledger.tasks.keep_refusals": 60,
    "control_plane.ledger.tasks.keep_missed_refusals": 3_600,
    "control_plane.forecasts.tasks.forecast": 3_600,
    "control_plane.alerts.tasks.deliver_alerts": 5,
    "control_plane.api.tasks.forget_answers": 3_600,
    "control_plane.budgets.tasks.carry_over": 60,
    "control_plane.releases.tasks.republish": 60,
    "control_plane.audit.tasks.chain_entries": 5,
    "control_plane.keys.tasks.remind": 3_600,
}
# A run that waited longer than its own interval is dropped: the next one does its work.
CELERY_BEAT_SCHEDULE = {
    task: {"task": task, "schedule": float(seconds), "options": {"expires": float(seconds)}}
    for task, seconds in _SCHEDULE_SECONDS.items()
}

UNFOLD = {
    "SITE_TITLE": "Bursar",
    "SITE_HEADER": "Bursar",
    "SITE_SUBHEADER": "LLM budgets, limits and spend",
    "SITE_SYMBOL": "account_balance_wallet",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("bursar/icon.svg")}],
    "SITE_URL": None,
    "SHOW_VIEW_ON_SITE": False,
    "DASHBOARD_CALLBACK": "control_plane.dashboard.home.overview",
    "SIDEBAR": {"navigation": NAVIGATION},
}
