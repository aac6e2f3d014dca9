-- The sign-in or API token that asked for a ticket: who comes with the ticket stays for as long as that counts.
ALTER TABLE tickets ADD COLUMN credential_id UUID;
