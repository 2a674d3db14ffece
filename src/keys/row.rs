//! A row of the table `keys`, as both databases give it.

use std::time::{Duration, SystemTime};

use super::{FoundKey, KeyHash, KeyId, KeyName, KeyRecord, KeyState, NewKey, Scopes, VerifiedKey};
use crate::{limiter::Quota, owner::Owner};

/// The end of the year 9999, in Unix seconds: later times cannot be written as RFC 3339.
const LATEST: f64 = 253_402_300_799.0;

/// A row; times are Unix seconds.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: i64,
    key_sha256: Vec<u8>,
    name: String,
    owner: String,
    scopes: String,
    quota_limit: Option<i64>,
    quota_window_ms: Option<i64>,
    created_at: f64,
    expires_at: Option<f64>,
    /// The time from now to `expires_at`, in seconds.
    expires_in: Option<f64>,
    expired: bool,
    revoked: bool,
}

impl Row {
    /// The key, whether or not it works. `None` if what is stored is no hash, which a constraint rules out.
    pub(super) fn found(self) -> Option<FoundKey> {
        let hash = KeyHash(self.key_sha256.try_into().ok()?);
        Some(FoundKey {
            hash,
            key: VerifiedKey {
                id: KeyId(self.id),
                name: KeyName::from_store(self.name),
                owner: Owner::from_store(self.owner),
                scopes: Scopes::from_store(&self.scopes),
                quota: quota(self.quota_limit, self.quota_window_ms),
            },
            expires_in: self.expires_in.map(seconds),
        })
    }
}

impl From<Row> for KeyRecord {
    fn from(row: Row) -> Self {
        // Only an administrator can have written an earlier or a later time.
        let time = |unix: f64| SystemTime::UNIX_EPOCH + seconds(unix.min(LATEST));
        Self {
            id: KeyId(row.id),
            name: KeyName::from_store(row.name),
            owner: Owner::from_store(row.owner),
            scopes: Scopes::from_store(&row.scopes),
            quota: quota(row.quota_limit, row.quota_window_ms),
            created_at: time(row.created_at),
            expires_at: row.expires_at.map(time),
            state: match (row.revoked, row.expired) {
                (true, _) => KeyState::Revoked,
                (false, true) => KeyState::Expired,
                (false, false) => KeyState::Working,
            },
        }
    }
}

/// No time at all if the number is negative; the longest if it is too large.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

/// The quota of two columns, which are both null or both within its bounds: constraints see to that.
fn quota(limit: Option<i64>, window_ms: Option<i64>) -> Option<Quota> {
    let limit = u32::try_from(limit?).ok()?;
    let window = Duration::from_millis(u64::try_from(window_ms?).ok()?);
    Quota::new(limit, window).ok()
}

/// The two columns of a key's quota.
pub(super) fn quota_columns(key: &NewKey) -> (Option<i64>, Option<i64>) {
    let limit = key.quota.map(|quota| i64::from(quota.limit()));
    // At most 366 days: always fits.
    let window = key.quota.map(|quota| quota.window().as_millis() as i64);
    (limit, window)
}
