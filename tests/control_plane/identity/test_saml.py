"""Single sign-on by SAML: answers that a provider has signed, and answers that it has not."""

from __future__ import annotations

import base64
import datetime
import zlib
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from django.test import Client
from lxml import etree
from onelogin.saml2.constants import OneLogin_Saml2_Constants
from onelogin.saml2.utils import OneLogin_Saml2_Utils
from pytest_django import Settings

from control_plane.identity.configuration import providers_from
from control_plane.identity.services import create_mapping
from control_plane.teams.models import User
from tests.control_plane.cast import Api

_ENTITY: Final = "https://idp.acme.example/saml"
_CONSUMER: Final = "http://localhost/admin/sso/saml/idp/acs/"
_AUDIENCE: Final = "http://localhost/admin/sso/saml/idp/metadata/"
_RESPONSE: Final = """\
<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion"
 ID="_response" Version="2.0" IssueInstant="{now}" Destination="{consumer}" InResponseTo="{request}">
<saml:Issuer>{entity}</saml:Issuer>
<samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>
{assertion}</samlp:Response>"""
_ASSERTION: Final = """\
<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_assertion" Version="2.0" IssueInstant="{now}">
<saml:Issuer>{entity}</saml:Issuer>
<saml:Subject>
<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">provider-bob</saml:NameID>
<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">
<saml:SubjectConfirmationData NotOnOrAfter="{later}" Recipient="{consumer}" InResponseTo="{request}"/>
</saml:SubjectConfirmation></saml:Subject>
<saml:Conditions NotBefore="{before}" NotOnOrAfter="{later}">
<saml:AudienceRestriction><saml:Audience>{audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions>
<saml:AuthnStatement AuthnInstant="{now}"><saml:AuthnContext>
<saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:Password</saml:AuthnContextClassRef>
</saml:AuthnContext></saml:AuthnStatement>
<saml:AttributeStatement>
<saml:Attribute Name="email"><saml:AttributeValue>bob@acme.example</saml:AttributeValue></saml:Attribute>
<saml:Attribute Name="groups"><saml:AttributeValue>auditors</saml:AttributeValue>
<saml:AttributeValue>runners</saml:AttributeValue></saml:Attribute>
</saml:AttributeStatement></saml:Assertion>"""


class Provider:
    """Signs what it says of Bob with its own key."""

    def __init__(self) -> None:
        key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "idp.acme.example")])
        now = datetime.datetime.now(datetime.UTC)
        end = now + datetime.timedelta(days=1)
        builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, end)
        self.certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.key = key.private_bytes(serialization.Encoding.PEM, *form).decode()

    def answer(self, request_id: str, *, audience: str = _AUDIENCE) -> bytes:
        times = {"before": -60, "now": 0, "later": 60}
        now = datetime.datetime.now(datetime.UTC)
        said = {name: f"{now + datetime.timedelta(seconds=after):%Y-%m-%dT%H:%M:%SZ}" for name, after in times.items()}
        said |= {"consumer": _CONSUMER, "entity": _ENTITY, "request": request_id, "audience": audience}
        signed: Any = OneLogin_Saml2_Utils.add_sign(
            _ASSERTION.format(**said),
            self.key,
            self.certificate,
            sign_algorithm=OneLogin_Saml2_Constants.RSA_SHA256,
            digest_algorithm=OneLogin_Saml2_Constants.SHA256,
        )
        return _RESPONSE.format(**said, assertion=signed.decode()).encode()


@pytest.fixture
def provider(settings: Settings, api: Api) -> Provider:
    made = Provider()
    settings.SOCIALACCOUNT_PROVIDERS = providers_from(
        {
            "BURSAR_SAML_ENTITY_ID": _ENTITY,
            "BURSAR_SAML_LOGIN_URL": f"{_ENTITY}/login",
            "BURSAR_SAML_CERTIFICATE": made.certificate,
        }
    )
    create_mapping(organization=api.organization, group="auditors", role="auditor")
    return made


def asked(browser: Client) -> str:
    """The id of the question that the browser carries to the provider."""
    away = browser.post("/admin/sso/saml/idp/login/")["location"]
    assert away.startswith(f"{_ENTITY}/login?")
    question = zlib.decompress(base64.b64decode(parse_qs(urlsplit(away).query)["SAMLRequest"][0]), -15)
    request_id: str = etree.fromstring(question).attrib["ID"]
    return request_id


def hand_in(browser: Client, response: bytes) -> Any:
    """The answer to what the provider has said."""
    step = browser.post("/admin/sso/saml/idp/acs/", {"SAMLResponse": base64.b64encode(response).decode()})
    return browser.get(step["location"])


def test_bob_comes_in_with_what_the_provider_has_signed(provider: Provider) -> None:
    browser = Client(HTTP_HOST="localhost")

    answer = hand_in(browser, provider.answer(asked(browser)))

    assert (answer.status_code, answer.get("location")) == (302, "/admin/"), answer.content.decode()
    bob = User.objects.get(email="bob@acme.example")
    assert [row.role for row in bob.memberships.all()] == ["auditor"]


def test_what_was_forged_moved_or_not_asked_for_lets_nobody_in(provider: Provider) -> None:
    stranger = Provider()

    def forged(request_id: str) -> bytes:
        return provider.answer(request_id).replace(b">runners<", b">admins<")

    for make in (
        forged,
        stranger.answer,
        lambda request_id: provider.answer(request_id, audience="https://elsewhere.example"),
        lambda request_id: provider.answer("_another" + request_id),
    ):
        browser = Client(HTTP_HOST="localhost")
        answer = hand_in(browser, make(asked(browser)))
        assert answer.status_code != 302
        assert browser.get("/admin/").status_code == 302
    assert not User.objects.filter(email="bob@acme.example").exists()
