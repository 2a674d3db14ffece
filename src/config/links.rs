//! `[links]`: the links themselves.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::value::{DAY, duration, flag, list, number, optional, print_duration, print_list};
use crate::links::{Scheme, Schemes, TargetUrl};

/// The links themselves.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct LinksConfig {
    /// Whether links can be made without an API key. Default `true`.
    #[serde(deserialize_with = "flag")]
    pub anonymous: bool,
    /// The length of random codes, 4 to 32 characters. Default 6, which makes 57 billion codes, or 2.2
    /// billion if case is ignored.
    #[serde(deserialize_with = "number::<4, 32, _, _>")]
    pub code_length: usize,
    /// Whether codes that differ only by case are one code: `/LAUNCH` is `/launch`. The node does not start if there are
    /// codes that differ only by case. All nodes need the same value. Default `false`.
    #[serde(deserialize_with = "flag")]
    pub ignore_case: bool,
    /// Whether a link that is made without a title gets the title of its page, which the node fetches from the public
    /// internet. Default `false`.
    #[serde(deserialize_with = "flag")]
    pub fetch_titles: bool,
    /// How long a deleted link can be restored, up to 366 days. After that, a node removes it for good within minutes.
    /// Default `7d`.
    #[serde(
        deserialize_with = "duration::<0, { 366 * DAY }, _>",
        serialize_with = "print_duration"
    )]
    pub restore_for: Duration,
    /// The schemes of URLs that may be shortened. `mailto`, `tel` or the scheme of an app can be added; `javascript`,
    /// `data`, `file` and the like are never allowed. Default `http` and `https`.
    #[serde(deserialize_with = "schemes", serialize_with = "print_schemes")]
    pub schemes: Schemes,
    /// Where `/` leads, in place of the page that shortens. Unset by default.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional")]
    pub home_url: Option<TargetUrl>,
    /// Where a code leads that no link has. Unset by default: such a code is answered with 404.
    #[serde(skip_serializing_if = "Option::is_none", with = "optional")]
    pub not_found_url: Option<TargetUrl>,
}

impl Default for LinksConfig {
    fn default() -> Self {
        Self {
            anonymous: true,
            code_length: 6,
            ignore_case: false,
            fetch_titles: false,
            restore_for: Duration::from_secs(7 * 86_400),
            schemes: Schemes::default(),
            home_url: None,
            not_found_url: None,
        }
    }
}

fn schemes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Schemes, D::Error> {
    let schemes: Vec<Scheme> = list(deserializer)?;
    schemes.try_into().map_err(D::Error::custom)
}

fn print_schemes<S: Serializer>(schemes: &Schemes, serializer: S) -> Result<S::Ok, S::Error> {
    print_list(schemes.as_slice(), serializer)
}
