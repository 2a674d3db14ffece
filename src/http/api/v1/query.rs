//! The parameters of a query. Whatever is wrong with one is answered with 400, and its name.

use std::{str::FromStr, time::SystemTime};

use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use super::Request;
use crate::{
    http::{
        fields::{malformed, shortened, timestamp},
        problem::ApiError,
    },
    keys::Scope,
    links::{Editor, Whose},
};

/// The parameters of a query, each at most once.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads the query of a request.
    ///
    /// # Errors
    /// [`ApiError::Malformed`] if a parameter is none of `known`, is repeated, or is empty: a script whose variable is
    /// empty would get another list than it expects. Only an empty `owner` means something.
    pub(super) fn read(request: &Request<'_>, known: &[&str]) -> Result<Self, ApiError> {
        Self::parse(request.context.query(), known)
    }

    pub(super) fn parse(query: &str, known: &[&str]) -> Result<Self, ApiError> {
        if percent_decode_str(query).decode_utf8().is_err() {
            return Err(malformed("The query is not valid UTF-8"));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&&*name) {
                let name = shortened(&name);
                return Err(malformed(format!("Unknown parameter `{name}`")));
            }
            if parameters.iter().any(|(other, _)| *other == name) {
                return Err(malformed(format!("The parameter `{name}` is repeated")));
            }
            if value.trim().is_empty() && name != "owner" {
                return Err(malformed(format!("`{name}`: it is empty")));
            }
            parameters.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(parameters))
    }

    /// The value of a parameter.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let mut parameters = self.0.iter();
        let found = parameters.find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter, as something else.
    ///
    /// # Errors
    /// [`ApiError::Malformed`] if it is nothing of that kind.
    pub(super) fn parsed<T>(
        &self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ApiError> {
        let value = self.text(name).map(|text| parse(text.trim()));
        let wrong = |why| malformed(format!("`{name}`: {why}"));
        value.transpose().map_err(wrong)
    }

    /// A time as RFC 3339 writes it.
    pub(super) fn time(&self, name: &str) -> Result<Option<SystemTime>, ApiError> {
        let time = self.text(name).map(|text| timestamp(name, text));
        let wrong = |error: ApiError| malformed(error.to_string());
        time.transpose().map_err(wrong)
    }

    /// A number from 1 on.
    pub(super) fn limit(&self, usual: usize, most: usize) -> Result<usize, ApiError> {
        let limit = self.parsed("limit", |text| {
            let number = text.parse().ok();
            let number = number.filter(|number| (1..=most).contains(number));
            number.ok_or_else(|| format!("a number from 1 to {most}"))
        })?;
        Ok(limit.unwrap_or(usual))
    }

    /// Whose links the request is about: `owner`, or all that are there for the holder of the key. An empty `owner` stands
    /// for links without an owner.
    ///
    /// # Errors
    /// [`ApiError::MissingScope`] if these links are not there for the holder of the key.
    pub(super) fn whose(&self, editor: &Editor) -> Result<Whose, ApiError> {
        let all = Whose::from(editor);
        let Some(text) = self.text("owner") else {
            return Ok(all);
        };
        let wanted =
            Whose::from_str(text.trim()).map_err(|error| malformed(format!("`owner`: {error}")))?;
        match editor {
            Editor::Administrator => Ok(wanted),
            Editor::Owner(_) if wanted == all => Ok(all),
            Editor::Owner(_) => Err(ApiError::MissingScope(Scope::Admin)),
        }
    }

    /// The query of the next page: this one with another cursor.
    pub(super) fn with_cursor(&self, cursor: &str) -> String {
        let others = self.0.iter().filter(|(name, _)| name != "cursor");
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(others);
        query.append_pair("cursor", cursor);
        query.finish()
    }

    /// The parameters that say what is listed and in which order, sorted by name.
    pub(super) fn listed(&self) -> Vec<(&str, &str)> {
        let is_about_page = |name: &str| ["cursor", "limit"].contains(&name);
        let listed = self.0.iter().filter(|(name, _)| !is_about_page(name));
        let mut listed: Vec<_> = listed.map(|(name, value)| (&**name, &**value)).collect();
        listed.sort_unstable();
        listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[&str] = &["a", "owner", "limit", "cursor"];

    #[test]
    fn what_is_wrong_with_a_query_is_named() {
        for (query, error) in [
            ("b=1", "Unknown parameter `b`"),
            ("a=1&a=2", "The parameter `a` is repeated"),
            ("a=%FF", "The query is not valid UTF-8"),
            ("a=", "`a`: it is empty"),
            ("owner=&a=+", "`a`: it is empty"),
            ("limit", "`limit`: it is empty"),
        ] {
            let parsed = Query::parse(query, KNOWN).map(|_| ());
            assert_eq!(parsed.expect_err(query).to_string(), error);
        }
        let query = |text: &str| Query::parse(text, KNOWN).expect(text);
        for wrong in ["0", "101", "-1", "1.5", "x", "99999999999999999999"] {
            let limit = query(&format!("limit={wrong}")).limit(50, 100);
            let error = limit.expect_err(wrong).to_string();
            assert_eq!(error, "`limit`: a number from 1 to 100");
        }
        assert_eq!(query("owner=").limit(50, 100).expect("a limit"), 50);
        assert_eq!(query("limit=+7").limit(50, 100).expect("a limit"), 7);
    }

    #[test]
    fn the_next_page_has_the_same_parameters() {
        let query = Query::parse("limit=2&a=x%26y&cursor=old", KNOWN).expect("a query");
        assert_eq!(query.with_cursor("new"), "limit=2&a=x%26y&cursor=new");
        assert_eq!(query.listed(), [("a", "x&y")]);
    }
}
