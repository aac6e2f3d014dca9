-- Where each gateway is reached, by people and by machines, and when it last said that it lives.
ALTER TABLE gateways ADD COLUMN url TEXT NOT NULL DEFAULT '';
ALTER TABLE gateways ADD COLUMN machines_url TEXT NOT NULL DEFAULT '';
ALTER TABLE gateways ADD COLUMN seen_at INTEGER;

-- The gateway at which a machine has its control connection, as that one says.
ALTER TABLE machines ADD COLUMN gateway_id BLOB;
