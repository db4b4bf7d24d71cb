"""A token endpoint on this machine, which answers as it is told and remembers what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Final
from urllib.parse import parse_qs

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

KEY: Final = generate_private_key(public_exponent=65537, key_size=2048)


class TokenEndpoint:
    """Each answer is a status and a body, bytes or what JSON is made of; the last one is given again and again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: list[tuple[int, Any]] = [(200, {"access_token": "token-1", "expires_in": 3600})]
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []

    def next_answer(self) -> tuple[int, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@contextmanager
def token_endpoint() -> Iterator[TokenEndpoint]:
    """The endpoint, for as long as the context lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
            endpoint.asked.append({name: value for name, [value] in form.items()})
            endpoint.paths.append(self.path)
            status, content = endpoint.next_answer()
            self.send_response(status)
            if status in (302, 307):
                self.send_header("location", f"{endpoint.url}/elsewhere")
            self.end_headers()
            self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

        def log_message(self, *arguments: Any) -> None:
            """Quiet."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    endpoint = TokenEndpoint(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pem(key: RSAPrivateKey = KEY) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def service_account(token_uri: str, **changes: str) -> str:
    """A service account's key file, with more in it than matters, as Google writes it."""
    fields = {
        "type": "service_account",
        "project_id": "acme",
        "private_key_id": "key-1",
        "private_key": pem(),
        "client_email": "bursar@acme.iam.gserviceaccount.com",
        "token_uri": token_uri,
    }
    return json.dumps(fields | changes)


def entra_client(authority: str, **changes: str) -> str:
    fields = {"tenant_id": "acme.example", "client_id": "bursar", "client_secret": "s3cret", "authority": authority}
    return json.dumps(fields | changes)
