//! `Forwarded` (RFC 7239), read from its right end.
//!
//! No crate does this: their parsers read from the left. There a client that leaves a quote open would hide the element
//! that a trusted proxy appended behind it.

use std::net::{IpAddr, SocketAddr};

/// The elements of a line, the last one first.
pub(super) fn elements(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    SplitFromRight {
        rest: Some(line),
        separator: b',',
    }
}

/// The address in `for=192.0.2.1`, `for="[2001:db8::1]:4711"` and the like, among other parameters. `None` for an
/// obfuscated identifier, for `unknown`, and if there is no `for` or more than one.
pub(super) fn parse_element(element: &[u8]) -> Option<IpAddr> {
    let mut found = None;
    let parameters = SplitFromRight {
        rest: Some(element),
        separator: b';',
    };
    for parameter in parameters {
        let equals = parameter.iter().position(|byte| *byte == b'=')?;
        let (name, value) = (&parameter[..equals], &parameter[equals + 1..]);
        if name.trim_ascii().eq_ignore_ascii_case(b"for") && found.replace(value).is_some() {
            return None;
        }
    }
    let value = found?.trim_ascii();
    let bare = value
        .strip_prefix(b"\"")
        .and_then(|v| v.strip_suffix(b"\""));
    let node = str::from_utf8(bare.unwrap_or(value)).ok()?;
    // A port may be obfuscated even if the address is not.
    let address = node.split_once(":_").map_or(node, |(address, _)| address);
    parse_address(address)
}

/// `192.0.2.1` or `2001:db8::1`, also with a port, as some proxies write it: `192.0.2.1:4711`, `[2001:db8::1]:4711`.
pub(super) fn parse_address(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|e| e.strip_suffix(']'));
    bare.unwrap_or(entry)
        .parse::<IpAddr>()
        .or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()))
        .ok()
        .map(|address| address.to_canonical())
}

/// The parts between separators, the last one first. Separators in a quoted string do not count.
struct SplitFromRight<'a> {
    rest: Option<&'a [u8]>,
    separator: u8,
}

impl<'a> Iterator for SplitFromRight<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.rest?;
        let mut quoted = false;
        for (index, &byte) in rest.iter().enumerate().rev() {
            if byte == b'"' && !(quoted && is_escaped(&rest[..index])) {
                quoted = !quoted;
            } else if byte == self.separator && !quoted {
                self.rest = Some(&rest[..index]);
                return Some(&rest[index + 1..]);
            }
        }
        self.rest = None;
        Some(rest)
    }
}

/// Whether this ends in an odd number of backslashes.
fn is_escaped(before: &[u8]) -> bool {
    let backslashes = before.iter().rev().take_while(|byte| **byte == b'\\');
    backslashes.count() % 2 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &str) -> Vec<&str> {
        let elements = elements(line.as_bytes());
        elements
            .map(|e| str::from_utf8(e).expect("UTF-8"))
            .collect()
    }

    #[test]
    fn only_a_comma_outside_of_quotes_divides() {
        for (line, parts) in [
            ("", &[""][..]),
            ("a", &["a"]),
            ("a,b, c", &[" c", "b", "a"]),
            (",", &["", ""]),
            (r#"a="x,y",b"#, &["b", r#"a="x,y""#]),
            (r#"a,b="x\",y""#, &[r#"b="x\",y""#, "a"]),
            (r#"a,b="x\\",c"#, &["c", r#"b="x\\""#, "a"]),
            (r#"a,b="x\\\",y",c"#, &["c", r#"b="x\\\",y""#, "a"]),
            // A quote that the client left open.
            (r#"for=",for=b"#, &["for=b", r#"for=""#]),
            (r#"for="a\",for=b"#, &["for=b", r#"for="a\""#]),
        ] {
            assert_eq!(split(line), parts, "{line}");
        }
    }

    #[test]
    fn an_element_names_one_address_or_none() {
        for (element, address) in [
            ("for=192.0.2.1", Some("192.0.2.1")),
            (" FOR = 192.0.2.1 ", Some("192.0.2.1")),
            ("for=192.0.2.1:80;proto=https", Some("192.0.2.1")),
            (r#"by=_x;for="192.0.2.1:80""#, Some("192.0.2.1")),
            (r#"for="192.0.2.1:_p""#, Some("192.0.2.1")),
            (r#"for="[2001:db8::1]";host="a;for=b""#, Some("2001:db8::1")),
            (r#"for="[2001:db8::1]:80""#, Some("2001:db8::1")),
            (r#"for="[2001:db8::1]:_p""#, Some("2001:db8::1")),
            ("for=::ffff:192.0.2.1", Some("192.0.2.1")),
            ("", None),
            ("for", None),
            ("for=", None),
            (r#"for="""#, None),
            ("for=unknown", None),
            ("for=_x", None),
            ("proto=https", None),
            ("192.0.2.1", None),
            ("for=192.0.2.1;for=192.0.2.1", None),
            ("for=192.0.2.1;", None),
            (r#"for="192.0.2.1"#, None),
            (r#"for="192.0\.2.1""#, None),
        ] {
            let parsed = parse_element(element.as_bytes());
            assert_eq!(
                parsed.map(|a| a.to_string()).as_deref(),
                address,
                "{element}"
            );
        }
    }
}
