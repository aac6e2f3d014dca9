//! Statements that run often go by an index, whatever the tables hold.

use super::world::World;

/// Statements with the shape of the store's own, each with the index that it must go by.
const PLANS: &[(&str, &str)] = &[
    ("SELECT id FROM credentials WHERE hash = ?1 AND kind = ?2", "(hash=?)"),
    ("SELECT id FROM machine_keys WHERE hash = ?1 AND revoked_at IS NULL", "(hash=?)"),
    (
        "UPDATE tickets SET state = 'redeemed' WHERE hash = ?1 AND state = 'issued' AND expires_at > ?2 RETURNING id",
        "(hash=?)",
    ),
    (
        "SELECT m.machine_id FROM principals p LEFT JOIN (SELECT h.id, h.tenant_id FROM grants h WHERE h.tenant_id = ?1 AND h.principal_id = ?2 \
         AND h.deleted_at IS NULL UNION ALL SELECT h.id, h.tenant_id FROM team_members x JOIN grants h ON h.tenant_id = x.tenant_id \
         AND h.team_id = x.team_id AND h.deleted_at IS NULL WHERE x.tenant_id = ?1 AND x.principal_id = ?2) g ON g.tenant_id = p.tenant_id \
         LEFT JOIN grant_machines m ON m.tenant_id = g.tenant_id AND m.grant_id = g.id WHERE p.tenant_id = ?1 AND p.id = ?2",
        "m USING PRIMARY KEY (tenant_id=? AND grant_id=?)",
    ),
    (
        "SELECT id FROM sessions WHERE tenant_id = ?1 AND principal_id = ?2 AND state <> 'ended' AND state <> 'reserved' ORDER BY started_at, id",
        "sessions_unended (tenant_id=? AND principal_id=?)",
    ),
    (
        "SELECT id FROM sessions WHERE state <> 'ended' AND state <> 'reserved' ORDER BY started_at, id",
        "USING INDEX sessions_unended",
    ),
    (
        "SELECT id FROM sessions WHERE tenant_id = ?1 AND started_at IS NOT NULL AND (started_at, id) < (?2, ?3) ORDER BY started_at DESC, id DESC LIMIT 5",
        "sessions_by_age",
    ),
    (
        "SELECT seq FROM audit_events WHERE tenant_id = ?1 AND (at, seq, gateway_id) < (?2, ?3, ?4) ORDER BY at DESC, seq DESC, gateway_id DESC LIMIT 5",
        "audit_events_by_age",
    ),
    (
        "SELECT seq FROM audit_events WHERE gateway_id = ?1 AND seq > ?2 ORDER BY seq LIMIT 5",
        "USING PRIMARY KEY",
    ),
    (
        "SELECT session_id FROM recordings WHERE tenant_id = ?1 AND (started_at, session_id) < (?2, ?3) ORDER BY started_at DESC, session_id DESC LIMIT 5",
        "recordings_by_age",
    ),
    (
        "SELECT id FROM machines WHERE tenant_id = ?1 AND deleted_at IS NULL AND (created_at, id) > (?2, ?3) ORDER BY created_at, id LIMIT 5",
        "machines_by_age",
    ),
    ("SELECT id FROM certificates WHERE fingerprint = ?1", "(fingerprint=?)"),
    (
        "SELECT id FROM certificates WHERE tenant_id = ?1 AND (created_at, id) < (?2, ?3) ORDER BY created_at DESC, id DESC LIMIT 5",
        "certificates_by_age",
    ),
    (
        "SELECT id FROM certificates WHERE tenant_id = ?1 AND machine_id = ?2 AND (created_at, id) < (?3, ?4) ORDER BY created_at DESC, id DESC LIMIT 5",
        "certificates_of_machine",
    ),
    (
        "SELECT id FROM certificates WHERE tenant_id = ?1 AND name = ?2 AND (created_at, id) < (?3, ?4) ORDER BY created_at DESC, id DESC LIMIT 5",
        "certificates_named",
    ),
    ("SELECT id FROM certificates WHERE revoked_at >= ?1", "certificates_revoked"),
    ("SELECT id FROM machine_keys WHERE revoked_at >= ?1", "machine_keys_revoked"),
    (
        "SELECT id FROM enrolment_tokens WHERE tenant_id = ?1 AND deleted_at IS NULL AND (created_at, id) < (?2, ?3) ORDER BY created_at DESC, id DESC LIMIT 5",
        "enrolment_tokens_listed",
    ),
    (
        "SELECT id FROM principals WHERE tenant_id = ?1 AND deleted_at IS NULL AND (created_at, id) > (?2, ?3) ORDER BY created_at, id LIMIT 5",
        "principals_by_age",
    ),
    ("SELECT 1 FROM oauth_secrets WHERE hash = ?1 AND client_id = ?2", "(hash=?)"),
    ("SELECT id FROM oauth_tokens WHERE hash = ?1 AND kind = 'refresh'", "(hash=?)"),
    ("SELECT id FROM oauth_tokens WHERE id = ?1 AND kind = 'access'", "(id=?)"),
    ("SELECT id FROM oauth_codes WHERE hash = ?1", "(hash=?)"),
    ("SELECT id FROM oauth_devices WHERE user_hash = ?1 AND state = 'pending'", "(user_hash=?)"),
    (
        "SELECT id FROM oauth_families WHERE tenant_id = ?1 AND principal_id = ?2 AND (created_at, id) < (?3, ?4) ORDER BY created_at DESC, id DESC LIMIT 5",
        "oauth_families_of",
    ),
    (
        "SELECT id FROM oauth_clients WHERE tenant_id = ?1 AND deleted_at IS NULL AND (created_at, id) > (?2, ?3) ORDER BY created_at, id LIMIT 5",
        "oauth_clients_by_age",
    ),
];

#[tokio::test]
async fn what_runs_often_goes_by_an_index() {
    // DESK-8
    let world = World::sqlite().await;
    for (statement, index) in PLANS {
        let plan = world.database.tamper(&format!("EXPLAIN QUERY PLAN {statement}"));
        assert!(plan.contains(index), "{statement}\n{plan}");
        assert!(!plan.contains("TEMP B-TREE") || statement.contains("WHERE state"), "{plan}");
    }
}
