//! The fields of a body, a form or JSON, and what their values mean.
//!
//! | file | what it holds |
//! |---|---|
//! | `body` | a body becomes a list of members: names and values |
//! | `declare` | the fields of a body, with what reads their values |
//! | `values` | what the values of one field may be; an error names the field |
//! | `schema` | the same for the document of the API |

mod body;
mod declare;
pub(super) mod schema;
mod values;

#[cfg(test)]
pub(super) use self::body::form_members;
pub(super) use self::{
    body::{
        MediaType, Member, json_members, read_json, read_json_members, read_members, read_query,
        without_mark,
    },
    declare::fields,
    values::{
        code_length, expires_at, expires_in, fallback_url, flag, given, list, malformed,
        max_visits, note, now, number, password, redirect, shortened, starts_at, tags, text,
        timestamp, title, unacceptable,
    },
};
