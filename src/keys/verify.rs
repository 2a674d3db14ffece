//! Whether a key is good.

use std::sync::Arc;

use super::{ApiKey, Calm, Keys, Unavailable, VerifiedKey};

impl Keys {
    /// What is known of a key that certainly works now; `None` if the store has to be asked.
    pub fn remembered(&self, key: &ApiKey) -> Option<Arc<VerifiedKey>> {
        self.memory.certain(&key.hash())
    }

    /// What was known of a key when the store was asked last: it worked, has not expired since, and was not heard to be
    /// revoked. But while changes go unheard it may be revoked, so this gives no right.
    pub fn last_known(&self, key: &ApiKey) -> Option<Arc<VerifiedKey>> {
        self.memory.last_known(&key.hash())
    }

    /// Whether this key is no guess: it worked when the store was asked some time ago, and has neither expired nor been
    /// found dead since. It may be revoked by now, so this gives no right.
    pub fn was_good(&self, key: &ApiKey) -> bool {
        self.memory.was_good(&key.hash())
    }

    /// The stretch of time that it is now: a look-up that began in another one may have read what was before a change.
    pub fn calm(&self) -> Calm {
        self.memory.calm()
    }

    /// What is known of a key that works: remembered, or looked up. `None` if it is unknown, has expired or is revoked.
    ///
    /// # Errors
    /// [`Unavailable`] if it is not remembered and the store cannot answer.
    pub async fn verify(&self, key: &ApiKey) -> Result<Option<Arc<VerifiedKey>>, Unavailable> {
        let hash = key.hash();
        if let Some(certain) = self.memory.certain(&hash) {
            return Ok(Some(certain));
        }
        let began = self.memory.moment();
        let found = self.store.look_up(&hash).await?;
        // The index has compared already; see `KeyHash` for why this does so again.
        match found.filter(|found| found.hash == hash) {
            Some(found) => Ok(Some(self.memory.remember(found, began))),
            None => {
                self.memory.forget(&hash);
                Ok(None)
            }
        }
    }
}
