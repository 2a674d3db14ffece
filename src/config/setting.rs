//! The merged keys, as a deserializer whose errors repeat no value.
//!
//! Any key may have got a URL with a password by mistake: `database` in place of `database.url`. The deserializer of
//! [`toml`] would show it: `invalid type: string "postgres://…"`.

use std::fmt::Display;

use serde::{
    Deserializer,
    de::{
        Error, Expected, IntoDeserializer, Unexpected, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use toml::Value;

/// A key's value, or a section.
pub(super) struct Setting(pub(super) Value);

/// What is wrong with a value, without the value.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Problem(String);

impl Error for Problem {
    fn custom<T: Display>(problem: T) -> Self {
        Self(problem.to_string())
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("expected {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("expected {expected}"))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("expected `{}`", expected.join("` or `")))
    }
}

impl<'de> Deserializer<'de> for Setting {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(flag) => visitor.visit_bool(flag),
            Value::Datetime(time) => visitor.visit_string(time.to_string()),
            Value::Array(items) => {
                let items = items.into_iter().map(Self);
                visitor.visit_seq(SeqDeserializer::new(items))
            }
            Value::Table(keys) => {
                let keys = keys.into_iter().map(|(key, value)| (key, Self(value)));
                visitor.visit_map(MapDeserializer::new(keys))
            }
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.0 {
            Value::Table(_) => self.deserialize_any(visitor),
            _ => Err(Problem("expected a section".to_owned())),
        }
    }

    /// A list is no section: its items would be taken for the values of the section's keys.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_map(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct enum identifier ignored_any
    }
}

impl IntoDeserializer<'_, Problem> for Setting {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}
