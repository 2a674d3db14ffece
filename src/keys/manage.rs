//! How keys are made, listed, revoked and rotated.

use super::{
    ApiKey, KeyName, KeyRecord, KeyRef, KeyState, Keys, ListKeys, NewKey, Unavailable,
    memory::Memory,
};

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
    /// A key of another number than the one that was asked for has that name now.
    #[error("another key has that name now")]
    OtherKey,
    /// The store cannot answer at the moment; it may or may not have changed the key.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// On drop, forgets which keys work: also if the change fails, or its caller gives it up, because it may be committed
/// all the same.
struct ForgetKeys<'a>(Option<&'a Memory>);

impl ForgetKeys<'_> {
    /// The store has answered that it changed nothing: what is remembered stays right.
    fn nothing_changed(mut self) {
        self.0 = None;
    }
}

impl Drop for ForgetKeys<'_> {
    fn drop(&mut self) {
        if let Some(memory) = self.0 {
            memory.changed();
        }
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

    /// The key of this name, unless it is revoked.
    ///
    /// # Errors
    /// [`Unavailable`] if the store cannot answer.
    pub async fn show(&self, name: &KeyName) -> Result<Option<KeyRecord>, Unavailable> {
        let found = self.store.show(&name.clone().into()).await?;
        Ok(found.into_iter().next())
    }

    /// Revokes a key, for good: from now on this node rejects it, and the others as soon as they hear of it. What it has
    /// made stays. To revoke the key of a number again changes nothing, and is no error.
    ///
    /// # Errors
    /// [`ChangeKeyError`] if not.
    pub async fn revoke(&self, key: &KeyRef) -> Result<KeyRecord, ChangeKeyError> {
        let forget = ForgetKeys(Some(&self.memory));
        if let Some(record) = self.store.revoke(key).await? {
            return Ok(record);
        }
        forget.nothing_changed();
        let found = self.of_this_name(key).await?;
        let revoked = found.iter().find(|record| Some(record.id) == key.id);
        match revoked {
            Some(record) if record.state == KeyState::Revoked => Ok(record.clone()),
            _ => Err(why_unchanged(&found)),
        }
    }

    /// Gives a key another secret; all else stays. If its life is limited, that begins anew with the same length, also if
    /// it was over. The old secret is dead as a revoked key is. Of two rotations at once, only one secret works.
    ///
    /// # Errors
    /// [`ChangeKeyError`] if not.
    pub async fn rotate(&self, key: &KeyRef) -> Result<(ApiKey, KeyRecord), ChangeKeyError> {
        let forget = ForgetKeys(Some(&self.memory));
        let secret = ApiKey::generate();
        if let Some(record) = self.store.rotate(key, &secret.hash()).await? {
            return Ok((secret, record));
        }
        forget.nothing_changed();
        Err(why_unchanged(&self.of_this_name(key).await?))
    }

    /// What there is in place of a key that was not changed.
    async fn of_this_name(&self, key: &KeyRef) -> Result<Vec<KeyRecord>, Unavailable> {
        match key.id {
            Some(_) => self.store.show(key).await,
            None => Ok(Vec::new()),
        }
    }
}

/// Why a key of a certain number was not changed, of whose name `found` are.
fn why_unchanged(found: &[KeyRecord]) -> ChangeKeyError {
    let is_taken = found.iter().any(|record| record.state != KeyState::Revoked);
    if is_taken {
        ChangeKeyError::OtherKey
    } else {
        ChangeKeyError::Unknown
    }
}
