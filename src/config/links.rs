//! `[links]`: the links themselves.

use serde::{Deserialize, Serialize};

use super::value::{bounded_number, list};
use crate::links::{Scheme, Schemes};

/// The links themselves.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct LinksConfig {
    /// How long random codes are, 4 to 32 characters. Default 6: 57 billion codes.
    #[serde(deserialize_with = "code_length")]
    pub code_length: usize,
    /// The schemes of URLs that may be shortened. Default `http` and `https`; `mailto`, `tel` or an app's own may be
    /// added, `javascript`, `data`, `file` and the like never.
    #[serde(with = "schemes")]
    pub schemes: Schemes,
}

bounded_number!(code_length, usize, 4, 32);

impl Default for LinksConfig {
    fn default() -> Self {
        Self {
            code_length: 6,
            schemes: Schemes::default(),
        }
    }
}

mod schemes {
    use serde::{Deserializer, Serializer, de::Error};

    use super::{Scheme, Schemes, list};
    use crate::config::value::print_list;

    pub(super) fn serialize<S: Serializer>(
        schemes: &Schemes,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        print_list(schemes.as_slice(), serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Schemes, D::Error> {
        let schemes: Vec<Scheme> = list(deserializer)?;
        schemes.try_into().map_err(D::Error::custom)
    }
}
