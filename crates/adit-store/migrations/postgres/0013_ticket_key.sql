-- The SHA-256 thumbprint (RFC 7638) of the key that whoever redeems a ticket must prove; none: the ticket is enough.
ALTER TABLE tickets ADD COLUMN key_thumbprint BYTEA CHECK (length(key_thumbprint) = 32);
