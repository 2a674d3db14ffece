//! How keys are made, listed, revoked and rotated.

use super::{ApiKey, KeyName, KeyRecord, Keys, ListKeys, NewKey, Unavailable, memory::Memory};

/// Why a key was not made.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum CreateKeyError {
    /// A key that is not revoked has that name.
    #[error("a key of that name exists")]
    NameTaken,
    /// The store cannot answer at the moment; it may or may not have stored the key.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// Why a key was not changed.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChangeKeyError {
    /// No key that is not revoked has that name.
    #[error("there is no key of that name")]
    Unknown,
    /// The store cannot answer at the moment; it may or may not have changed the key.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// On drop, forgets which keys work: also if the change fails, or its caller gives it up, because it may be committed
/// all the same.
struct ForgetKeys<'a>(&'a Memory);

impl Drop for ForgetKeys<'_> {
    fn drop(&mut self) {
        self.0.changed();
    }
}

impl Keys {
    /// Makes a key. It is committed, and this is the only time that it can be had.
    ///
    /// # Errors
    /// [`CreateKeyError`] if not.
    pub async fn create(&self, key: &NewKey) -> Result<(ApiKey, KeyRecord), CreateKeyError> {
        let secret = ApiKey::generate();
        let made = self.store.insert(key, &secret.hash()).await?;
        made.map(|record| (secret, record))
            .ok_or(CreateKeyError::NameTaken)
    }

    /// Keys in the order of their names, and those of one name in the order in which they were made.
    ///
    /// # Errors
    /// [`Unavailable`] if the store cannot answer.
    pub async fn list(&self, which: &ListKeys) -> Result<Vec<KeyRecord>, Unavailable> {
        self.store.list(which).await
    }

    /// Whether there is any key at all, even one that no longer works.
    ///
    /// # Errors
    /// [`Unavailable`] if the store cannot answer.
    pub async fn any(&self) -> Result<bool, Unavailable> {
        self.store.any().await
    }

    /// Revokes the key of this name, for good: from now on this node rejects it, and the others as soon as they hear of
    /// it. What it has made stays.
    ///
    /// # Errors
    /// [`ChangeKeyError`] if not.
    pub async fn revoke(&self, name: &KeyName) -> Result<(), ChangeKeyError> {
        let _forget = ForgetKeys(&self.memory);
        let revoked = self.store.revoke(name).await?;
        revoked.then_some(()).ok_or(ChangeKeyError::Unknown)
    }

    /// Gives the key of this name another secret; all else stays. If its life is limited, that begins anew with the
    /// same length, also if it was over. The old secret is dead as a revoked key is.
    ///
    /// # Errors
    /// [`ChangeKeyError`] if not.
    pub async fn rotate(&self, name: &KeyName) -> Result<(ApiKey, KeyRecord), ChangeKeyError> {
        let _forget = ForgetKeys(&self.memory);
        let secret = ApiKey::generate();
        let rotated = self.store.rotate(name, &secret.hash()).await?;
        rotated
            .map(|record| (secret, record))
            .ok_or(ChangeKeyError::Unknown)
    }
}
