"""Signs with http-message-signatures, and sends with requests.

python_requests.py KEY.pem PUBLISHABLE_KEY URL JSON
"""

import pathlib
import secrets
import sys

import requests
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms


class Signed(requests.auth.AuthBase):
    """Signs each request last, after requests has made its final form."""

    def __init__(self, pem: bytes, publishable_key: str):
        self.key_id = publishable_key
        keys = MappingKeyResolver(public_keys={}, private_keys={publishable_key: pem})
        self.signer = HTTPMessageSigner(signature_algorithm=algorithms.ED25519, key_resolver=keys)

    def __call__(self, request):
        covered = ["@method", "@authority", "@path", "@query"]
        present = ["content-type", "content-encoding", "authorization", "idempotency-key"]
        covered += [name for name in present if name in request.headers]
        self.signer.sign(
            request,
            key_id=self.key_id,
            covered_component_ids=covered,
            nonce=secrets.token_urlsafe(16),  # the library makes none
            tag="countersign",
            body=as_bytes(request.body) or None,  # adds and covers Content-Digest
        )
        return request


def as_bytes(body) -> bytes:
    return body.encode() if isinstance(body, str) else body or b""


key, publishable_key, url, content = sys.argv[1:]
session = requests.Session()
session.trust_env = False  # .netrc would add an Authorization field
session.auth = Signed(pathlib.Path(key).read_bytes(), publishable_key)
# A redirect would carry the signature on. Sign a new request for where it leads, if you trust that.
headers = {"Content-Type": "application/json"}
response = session.post(url, data=content, headers=headers, allow_redirects=False, timeout=30)
print(response.status_code, response.text)
response = session.get(url, allow_redirects=False, timeout=30)
print(response.status_code, response.text)
