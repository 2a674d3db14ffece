//! The secret itself: `shunt_` and 38 letters and digits.

use std::{fmt, hash, hint::black_box};

use rand::{RngExt, distr::Alphanumeric};
use sha2::{Digest, Sha256};

/// What every key begins with, so that people and secret scanners recognise one.
const PREFIX: &str = "shunt_";

/// The random characters: 62^32, about 190 bits.
const RANDOM: usize = 32;

/// The characters of the checksum.
const CHECKSUM: usize = 6;

const BASE_62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// An API key. Only its form and its checksum are known to be right; whether there is such a key, only
/// [`Keys`](super::Keys) knows.
///
/// `shunt_`, then 32 characters of `A-Z`, `a-z`, `0-9`, each equally likely and drawn from a cryptographic generator
/// that the operating system seeds, then 6 characters of checksum. The checksum is for typing errors and for secret
/// scanners, not against forgery: take SHA-256 of the 38 characters before it, read the first 8 bytes as a big-endian
/// number, and write this number modulo 62^6 with the digits `0-9A-Za-z`, the highest digit first.
#[derive(Clone)]
pub struct ApiKey(Box<str>);

impl ApiKey {
    /// A new key.
    pub fn generate() -> Self {
        let mut text = PREFIX.to_owned();
        let random = rand::rng().sample_iter(Alphanumeric).take(RANDOM);
        text.extend(random.map(char::from));
        let checksum = checksum(&text);
        text.extend(checksum.map(char::from));
        Self(text.into())
    }

    /// The key that a text is; `None` if the form or the checksum is wrong.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(PREFIX)?;
        if rest.len() != RANDOM + CHECKSUM || !rest.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        let (before, end) = text.split_at(PREFIX.len() + RANDOM);
        (end.as_bytes() == checksum(before)).then(|| Self(text.into()))
    }

    /// The key as text: a secret, for the one who asked for the key and for nobody else.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// What is stored of the key.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_bytes()).into())
    }
}

fn checksum(text: &str) -> [u8; CHECKSUM] {
    let hash: [u8; 32] = Sha256::digest(text).into();
    let mut number = hash[..8]
        .iter()
        .fold(0, |n, byte| n << 8 | u64::from(*byte));
    let mut digits = [0; CHECKSUM];
    for digit in digits.iter_mut().rev() {
        *digit = BASE_62[(number % 62) as usize];
        number /= 62;
    }
    digits
}

/// Never shows the key.
impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey")
    }
}

/// SHA-256 of the whole text of a key. A fast hash is enough: a key is random, so there is no dictionary to try.
#[derive(Clone, Copy)]
pub struct KeyHash(pub [u8; 32]);

/// Takes the same time whatever the bytes are.
///
/// The indexes and maps in which a hash is looked up do not: their time may tell how many bytes of the hash of a guess
/// match those of a stored hash. That helps no one to find the key, because nobody can choose the hash of a guess. The
/// decision that a key is good is made by this comparison all the same, so that it needs no such argument.
impl PartialEq for KeyHash {
    fn eq(&self, other: &Self) -> bool {
        let pairs = self.0.iter().zip(&other.0);
        // Without `black_box`, the compiler may stop at the first difference.
        pairs.fold(0, |differences, (a, b)| black_box(differences | (a ^ b))) == 0
    }
}

impl Eq for KeyHash {}

impl hash::Hash for KeyHash {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_have_the_documented_form_and_differ() {
        let keys: HashSet<String> = (0..2_000)
            .map(|_| ApiKey::generate().secret().to_owned())
            .collect();
        assert_eq!(keys.len(), 2_000);
        let mut seen = HashSet::new();
        for key in &keys {
            assert_eq!(key.len(), 44);
            let rest = key.strip_prefix("shunt_").expect("the prefix");
            seen.extend(rest[..RANDOM].bytes());
            let parsed = ApiKey::parse(key).expect("a key");
            assert_eq!(parsed.secret(), key);
        }
        let alphabet: HashSet<u8> = (0..=u8::MAX).filter(u8::is_ascii_alphanumeric).collect();
        assert_eq!(seen, alphabet, "every character occurs, and no other");
    }

    /// Computed with Python's hashlib. Keys that were given out must stay keys.
    #[test]
    fn the_checksum_is_the_documented_one() {
        let key = "shunt_0123456789ABCDEFGHIJKLMNOPQRSTUVjXABOc";
        assert!(ApiKey::parse(key).is_some());
    }

    #[test]
    fn every_wrong_character_and_every_swap_of_neighbours_is_found() {
        for _ in 0..20 {
            let key = ApiKey::generate().secret().as_bytes().to_vec();
            let is_key = |bytes: &[u8]| {
                let text = str::from_utf8(bytes).expect("ASCII");
                ApiKey::parse(text).is_some()
            };
            assert!(is_key(&key));
            for at in 0..key.len() {
                for other in BASE_62.iter().filter(|other| **other != key[at]) {
                    let mut wrong = key.clone();
                    wrong[at] = *other;
                    assert!(!is_key(&wrong), "{at}");
                }
                if at > 0 && key[at] != key[at - 1] {
                    let mut wrong = key.clone();
                    wrong.swap(at - 1, at);
                    assert!(!is_key(&wrong), "{at}");
                }
            }
        }
    }

    #[test]
    fn what_is_longer_or_shorter_or_has_other_characters_is_no_key() {
        let key = ApiKey::generate();
        let key = key.secret();
        for text in [
            "",
            "shunt_",
            &key[1..],
            &key[..43],
            &format!("{key}a"),
            &format!("{key} "),
            &format!(" {key}"),
            &key.to_uppercase(),
            &key.replace('_', "-"),
            &format!("shunt_{}", "ü".repeat(19)),
        ] {
            assert!(ApiKey::parse(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn a_key_is_never_shown_by_debug() {
        let key = ApiKey::generate();
        let shown = format!("{key:?} {:?}", key.hash());
        assert_eq!(shown, "ApiKey KeyHash");
    }

    #[test]
    fn hashes_are_equal_if_all_bytes_are() {
        let hash = ApiKey::generate().hash();
        assert_eq!(hash, KeyHash(hash.0));
        for at in 0..32 {
            for bit in 0..8 {
                let mut other = hash.0;
                other[at] ^= 1 << bit;
                assert_ne!(hash, KeyHash(other), "{at}");
            }
        }
    }
}
