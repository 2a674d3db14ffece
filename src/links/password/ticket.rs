//! The proof that somebody has given the password of a link: `<until>.<signature>`.
//!
//! The signature is an HMAC-SHA256 over the code and the time until which the ticket is good, in Unix seconds. Its key
//! is the password's hash, which never leaves the servers and which all nodes read from the same database. So no node
//! has to keep anything, nothing has to be configured, and with another password all tickets of the link end.

use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::PasswordHash;
use crate::links::ShortCode;

/// No other use of a hash as a key signs texts that begin with this.
const PURPOSE: &[u8] = b"shunt: the password of this link was given\n";

impl PasswordHash {
    /// A ticket for this code of the link, good until then. `None` if this is no hash that could be kept secret:
    /// anybody could make tickets.
    pub fn ticket(&self, code: &ShortCode, until: SystemTime) -> Option<String> {
        let until = until.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
        let signature = self.signer(code, until)?.finalize().into_bytes();
        Some(format!("{until}.{}", hex::encode(signature)))
    }

    /// Whether this is a ticket for the link that has this password and this code, and still good.
    pub fn admits(&self, code: &ShortCode, ticket: &str, now: SystemTime) -> bool {
        let read = || {
            let (until, signature) = ticket.split_once('.')?;
            let (until, mut bytes) = (until.parse::<u64>().ok()?, [0; 32]);
            hex::decode_to_slice(signature, &mut bytes).ok()?;
            Some((until, bytes))
        };
        let Some((until, signature)) = read() else {
            return false;
        };
        let end = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(until));
        let is_over = end.is_none_or(|end| end <= now);
        // Compares in constant time.
        let is_ours = |signer: Hmac<Sha256>| signer.verify_slice(&signature).is_ok();
        !is_over && self.signer(code, until).is_some_and(is_ours)
    }

    /// Codes have no line feed, so no two lists of parts look the same.
    fn signer(&self, code: &ShortCode, until: u64) -> Option<Hmac<Sha256>> {
        self.sound()?;
        let mut signer = Hmac::<Sha256>::new_from_slice(self.secret()).ok()?;
        signer.update(PURPOSE);
        signer.update(format!("{code}\n{until}").as_bytes());
        Some(signer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Password;

    fn code(text: &str) -> ShortCode {
        ShortCode::parse(text).expect("a code")
    }

    fn hash(password: &str) -> PasswordHash {
        let password = Password::parse(password).expect("a password");
        PasswordHash::of(&password).expect("a hash")
    }

    #[test]
    fn a_ticket_is_good_for_one_code_of_one_password_until_its_end() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let second = Duration::from_secs(1);
        let hash_of_link = hash("sesame");
        let ticket = hash_of_link
            .ticket(&code("launch"), noon)
            .expect("a ticket");
        assert!(hash_of_link.admits(&code("launch"), &ticket, noon - second));
        assert!(!hash_of_link.admits(&code("launch"), &ticket, noon), "over");
        assert!(!hash_of_link.admits(&code("other"), &ticket, noon - second));
        // The same password, set again.
        assert!(!hash("sesame").admits(&code("launch"), &ticket, noon - second));
        let (until, signature) = ticket.split_once('.').expect("two parts");
        let later = (noon + second).duration_since(SystemTime::UNIX_EPOCH);
        let later = later.expect("after 1970").as_secs();
        for forged in [
            format!("{later}.{signature}"),
            format!("{until}.{}", "0".repeat(64)),
            format!("{until}.{}", &signature[..62]),
            format!("{until}."),
            format!("{}.{signature}", u64::MAX),
            format!("-1.{signature}"),
            until.to_owned(),
            String::new(),
        ] {
            let admitted = hash_of_link.admits(&code("launch"), &forged, noon - second);
            assert!(!admitted, "{forged}");
        }
    }

    /// An administrator may have closed a link by writing anything into the column.
    #[test]
    fn what_is_no_hash_signs_nothing() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000);
        let none = PasswordHash::from_store("x".to_owned());
        assert_eq!(none.ticket(&code("launch"), noon), None);
        let mut signer = Hmac::<Sha256>::new_from_slice(b"x").expect("a key");
        signer.update(PURPOSE);
        signer.update(b"launch\n1900000000");
        let ticket = format!("1900000000.{}", hex::encode(signer.finalize().into_bytes()));
        assert!(!none.admits(&code("launch"), &ticket, SystemTime::UNIX_EPOCH));
    }
}
