//! Passwords of links.
//!
//! | file | what it holds |
//! |---|---|
//! | this one | a password, and what is stored of it |
//! | `work` | how many passwords a node hashes at once, and how many requests wait for that |
//! | `places` | places in a queue of which no client and no link can take all |
//! | `ticket` | the proof that somebody has given the password |

mod places;
mod ticket;
mod work;

use std::{fmt, sync::Arc};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{self, PasswordHasher, PasswordVerifier, phc},
};
use tracing::warn;
use unicode_normalization::UnicodeNormalization;

use super::{Links, ShortCode};

pub use places::Place;
pub(super) use work::Passwords;
pub use work::{NotHashed, PASSWORD_PATIENCE};

/// The most characters of a password.
const MAX_LENGTH: usize = 128;

/// What one hash costs: 19 MiB, two passes, one thread. Of the settings that OWASP recommends, the one that needs the
/// least time on a small machine (Password Storage Cheat Sheet, Argon2id).
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// The most that checking a hash may cost which another program has written to the table.
const MAX_MEMORY_KIB: u32 = 64 * 1024;
const MAX_PASSES: u32 = 10;
const MAX_LANES: u32 = 4;

/// The shortest hash, in bytes, that can be a secret.
const MIN_HASH: usize = 16;

/// The shortest salt, in bytes, that argon2 takes.
const MIN_SALT: usize = argon2::MIN_SALT_LEN;

/// A password that visitors of a link have to give: 1 to 128 characters, in Unicode's normal form C.
///
/// Keyboards differ in how they write `é`: as one character or as two. White space around it does not count: keyboards
/// of phones add a space behind a word. It is shown nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<str>);

/// The text is no [`Password`].
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("a password is 1 to {MAX_LENGTH} characters, without control characters")]
pub struct InvalidPassword;

impl Password {
    /// Parses a password, without the white space around it.
    ///
    /// # Errors
    /// [`InvalidPassword`]
    pub fn parse(text: &str) -> Result<Self, InvalidPassword> {
        let text: String = text.trim().nfc().collect();
        let valid =
            (1..=MAX_LENGTH).contains(&text.chars().count()) && !text.contains(char::is_control);
        valid.then(|| Self(text.into())).ok_or(InvalidPassword)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(***)")
    }
}

/// What is stored of a password: its argon2id hash with a random salt, as a PHC string.
///
/// It is a secret of the servers that use one database, and different for every password that was ever set. So it also
/// stands for this password of this link: [tickets](Self::ticket) are signed with it, and attempts are counted by it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// A hash that a store has. Another program may have written it.
    pub(super) fn from_store(hash: String) -> Self {
        Self(hash.into())
    }

    /// The PHC string.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash, to tell this password of this link from any other. Show it nowhere.
    pub fn secret(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Hashes a password with a new salt. Blocks for tens of milliseconds: requests wait for [`Links::hash_password`].
    ///
    /// # Errors
    /// If the operating system has no random numbers or no memory, and so in practice never.
    pub fn of(password: &Password) -> Result<Self, password_hash::Error> {
        let params = Params::new(MEMORY_KIB, PASSES, LANES, None)?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let salt: [u8; 16] = rand::random();
        let hash = argon2.hash_password_with_salt(password.0.as_bytes(), &salt)?;
        Ok(Self(hash.to_string().into()))
    }

    /// Whether this is the hash of that password. Takes as long whether it is or not. What is not [sound](Self::sound)
    /// is the hash of no password.
    ///
    /// # Errors
    /// If the operating system has no memory.
    fn is_of(&self, password: &Password) -> Result<bool, password_hash::Error> {
        let Some(hash) = self.sound() else {
            return Ok(false);
        };
        // Compares in constant time.
        verdict(Argon2::default().verify_password(password.0.as_bytes(), &hash))
    }

    /// The hash, unless it is none, or too short to be a secret, or too costly to be checked.
    fn sound(&self) -> Option<phc::PasswordHash> {
        let hash = phc::PasswordHash::new(&self.0).ok()?;
        let params = Params::try_from(&hash).ok()?;
        let is_affordable = params.m_cost() <= MAX_MEMORY_KIB
            && params.t_cost() <= MAX_PASSES
            && params.p_cost() <= MAX_LANES;
        let is_secret = hash
            .salt
            .as_ref()
            .is_some_and(|salt| salt.len() >= MIN_SALT)
            && hash
                .hash
                .as_ref()
                .is_some_and(|hash| hash.len() >= MIN_HASH);
        let is_argon2 = Algorithm::try_from(hash.algorithm.as_str()).is_ok()
            && hash
                .version
                .is_none_or(|version| Version::try_from(version).is_ok());
        (is_argon2 && is_affordable && is_secret).then_some(hash)
    }
}

/// What the outcome of a check says of the password. A check that could not be done says nothing of it.
fn verdict(checked: Result<(), password_hash::Error>) -> Result<bool, password_hash::Error> {
    match checked {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

impl Links {
    /// Hashes a password for a link, for this client: its name as the limiter has it.
    ///
    /// # Errors
    /// [`NotHashed`]
    pub async fn hash_password(
        &self,
        client: &str,
        password: Password,
    ) -> Result<PasswordHash, NotHashed> {
        let hash = move || PasswordHash::of(&password);
        self.passwords.make(client, hash).await
    }

    /// A place in the queue of those who check a password, for this client and for the link that has this hash.
    ///
    /// # Errors
    /// [`NotHashed::Busy`] if there is none, or if the client or the link has its share. Nothing was hashed: that is no
    /// attempt.
    pub fn place_to_check(&self, client: &str, hash: &PasswordHash) -> Result<Place, NotHashed> {
        self.passwords.place(client, hash)
    }

    /// Whether the hash of the link that has this code is that of this password. Takes as long whether it is or not.
    ///
    /// # Errors
    /// [`NotHashed`]
    pub async fn is_password(
        &self,
        place: Place,
        code: &ShortCode,
        hash: PasswordHash,
        password: Password,
    ) -> Result<bool, NotHashed> {
        if hash.sound().is_none() {
            warn!(%code, "what is stored for this link is no hash that can be checked: no password opens it");
        }
        let is_of = move || hash.is_of(&password);
        self.passwords.check(place, is_of).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).expect("a password")
    }

    #[test]
    fn a_password_has_bounds_and_no_control_characters() {
        let (longest, longer) = ("é".repeat(128), "é".repeat(129));
        for text in ["a", " open sesame ", &longest, "pässwörd 🔑"] {
            assert!(Password::parse(text).is_ok(), "{text}");
        }
        for text in ["", " \t", &longer, "a\nb", "nul\0"] {
            assert_eq!(Password::parse(text), Err(InvalidPassword), "{text:?}");
        }
        assert_eq!(password(" sesame\u{a0}"), password("sesame"));
        // As two keyboards write it.
        assert_eq!(password("caf\u{e9}"), password("cafe\u{301}"));
    }

    #[test]
    fn a_check_that_could_not_be_done_is_no_wrong_password() {
        assert_eq!(verdict(Ok(())), Ok(true));
        let wrong = Err(password_hash::Error::PasswordInvalid);
        assert_eq!(verdict(wrong), Ok(false));
        let out_of_memory = password_hash::Error::OutOfMemory;
        assert_eq!(verdict(Err(out_of_memory)), Err(out_of_memory));
    }

    #[test]
    fn a_hash_is_argon2id_with_a_salt_of_its_own_and_fits_its_password_only() {
        let [one, other] = [(); 2].map(|()| PasswordHash::of(&password("sesame")).expect("a hash"));
        assert!(one.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_ne!(one, other);
        assert_eq!(one.is_of(&password("sesame")), Ok(true));
        assert_eq!(other.is_of(&password(" sesame ")), Ok(true));
        for wrong in ["Sesame", "sesam", "sesame!"] {
            assert_eq!(one.is_of(&password(wrong)), Ok(false), "{wrong}");
        }
    }

    #[test]
    fn a_hash_of_another_program_counts_if_it_is_a_secret_and_affordable() {
        let hash = |params: &str, bytes: usize| {
            let hash = "A".repeat(bytes.div_ceil(3) * 4);
            PasswordHash::from_store(format!("{params}$c29tZXNhbHRzb21lc2FsdA${hash}"))
        };
        for sound in [
            hash("$argon2id$v=19$m=19456,t=2,p=1", 33),
            // As PHP makes them.
            hash("$argon2id$v=19$m=65536,t=4,p=1", 33),
            hash("$argon2i$v=19$m=4096,t=3,p=1", 33),
        ] {
            assert!(sound.sound().is_some(), "{}", sound.as_str());
        }
        for other in [
            hash("$argon2id$v=19$m=19456,t=2,p=1", 12),
            hash("$argon2id$v=19$m=1048576,t=2,p=1", 33),
            hash("$argon2id$v=19$m=19456,t=200,p=1", 33),
            hash("$argon2id$v=19$m=19456,t=2,p=16", 33),
            hash("$pbkdf2-sha256$i=600000", 33),
            hash("$argon2x$v=19$m=19456,t=2,p=1", 33),
            hash("$argon2id$v=18$m=19456,t=2,p=1", 33),
            PasswordHash::from_store("$argon2id$v=19$m=19456,t=2,p=1".to_owned()),
            PasswordHash::from_store("x".to_owned()),
            PasswordHash::from_store(String::new()),
        ] {
            assert!(other.sound().is_none(), "{}", other.as_str());
            assert_eq!(other.is_of(&password("x")), Ok(false), "{}", other.as_str());
        }
    }

    #[test]
    fn neither_a_password_nor_its_hash_is_shown() {
        let password = password("sesame");
        let hash = PasswordHash::of(&password).expect("a hash");
        let shown = format!("{password:?} {hash:?}");
        assert_eq!(shown, "Password(***) PasswordHash(***)");
    }
}
