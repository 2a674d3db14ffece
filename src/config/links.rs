//! `[links]`: the links themselves.

use serde::{Deserialize, Serialize};

use super::value::bounded_number;

/// The links themselves.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct LinksConfig {
    /// How long random codes are, 4 to 32 characters. Default 6: 57 billion codes.
    #[serde(deserialize_with = "code_length")]
    pub code_length: usize,
}

bounded_number!(code_length, usize, 4, 32);

impl Default for LinksConfig {
    fn default() -> Self {
        Self { code_length: 6 }
    }
}
