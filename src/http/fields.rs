//! The fields of a body, a form or JSON, and what their values mean.
//!
//! | file | what it holds |
//! |---|---|
//! | `body` | a body becomes a list of members: names and values |
//! | `values` | what the values of one field may be; an error names the field |

mod body;
mod values;

#[cfg(test)]
pub(super) use self::body::{form_members, json_members};
pub(super) use self::{
    body::{Member, read_json_members, read_members},
    values::{
        code_length, expires_at, expires_in, fallback_url, flag, given, list, malformed,
        max_visits, note, now, number, redirect, shortened, starts_at, tags, text, title,
        unacceptable,
    },
};
