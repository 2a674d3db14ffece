//! Declares the fields of a body in one place, for the code that reads them and for the document of the API.

/// Declares `Fields`: the fields of a body, each with the function that reads its value.
macro_rules! fields {
    ($($name:ident: $read:ident),* $(,)?) => {
        /// The fields as they come, in a form or in JSON, each at most once.
        #[derive(Debug, Default)]
        struct Fields {
            $($name: Option<String>),*
        }

        impl Fields {
            /// The names of all of them.
            const NAMES: &'static [&'static str] = &[$(stringify!($name)),*];

            /// Takes in members one by one, and stops at the first that is wrong.
            fn read(
                members: &mut dyn Iterator<Item = $crate::http::fields::Member>,
            ) -> Result<Self, $crate::http::problem::ApiError> {
                use $crate::http::fields::{malformed, shortened};

                let mut fields = Self::default();
                for (name, value) in members {
                    let (field, value) = match name.as_str() {
                        $(stringify!($name) => (&mut fields.$name, $read(&name, value)?),)*
                        _ => return Err(malformed(format!("Unknown field `{}`", shortened(&name)))),
                    };
                    if let Some(value) = value
                        && field.replace(value).is_some()
                    {
                        return Err(malformed(format!("The field `{name}` is repeated")));
                    }
                }
                Ok(fields)
            }
        }
    };
}

pub(in crate::http) use fields;
