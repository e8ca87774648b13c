"""Signs with http-message-signatures, and sends with httpx. Works the same way with its AsyncClient.

python_httpx.py KEY.pem PUBLISHABLE_KEY URL JSON
"""

import pathlib
import secrets
import sys

import httpx
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms


class Signed(httpx.Auth):
    """Signs each request last, redirects included."""

    requires_request_body = True

    def __init__(self, pem: bytes, publishable_key: str):
        self.key_id = publishable_key
        keys = MappingKeyResolver(public_keys={}, private_keys={publishable_key: pem})
        self.signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=keys)

    def auth_flow(self, request):
        covered = ["@method", "@authority", "@path", "@query"]
        present = ["content-type", "content-encoding", "authorization", "idempotency-key"]
        covered += [name for name in present if name in request.headers]
        self.signer.sign(
            request,
            key_id=self.key_id,
            covered_component_ids=covered,
            nonce=secrets.token_urlsafe(16),  # the library makes none
            tag="countersign",
            body=request.content or None,  # adds and covers Content-Digest
        )
        yield request


key, publishable_key, url, content = sys.argv[1:]
auth = Signed(pathlib.Path(key).read_bytes(), publishable_key)
with httpx.Client(auth=auth, trust_env=False) as client:  # which follows no redirects by itself
    headers = {"Content-Type": "application/json"}
    response = client.post(url, content=content, headers=headers)
    print(response.status_code, response.text)
    response = client.get(url)
    print(response.status_code, response.text)
