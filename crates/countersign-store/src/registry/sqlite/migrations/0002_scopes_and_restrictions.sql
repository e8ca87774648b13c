-- The scopes of a credential, with a space between two of them.
ALTER TABLE credential ADD COLUMN scopes TEXT NOT NULL DEFAULT '';

-- Where a credential may be used from, as JSON:
--     {"version": 1, "restrictions": [{"kind": "ip", "enforcement": "enforce", "allow": ["192.0.2.0/24"]}]}
-- `enforcement` is `enforce` or `report`. A kind is there once at most, and its list is not empty. A credential with
-- anything else in it is refused.
ALTER TABLE credential ADD COLUMN restrictions TEXT NOT NULL DEFAULT '{"version":1,"restrictions":[]}';
