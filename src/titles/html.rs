//! The title in a page.
//!
//! This reads as much of HTML as it takes to find the first `<title>` that is not in a comment, a script, a picture or
//! the value of an attribute. A page that is cut off anywhere is no error.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};
use memchr::memmem;

use super::entities;
use crate::links::Title;

/// The longest title, in characters. A longer one is cut.
const MAX_CHARACTERS: usize = 500;

/// In how much of a page a `<meta>` may name the character encoding, as HTML has it.
const PRESCANNED: usize = 1024;

/// The longest name of an element that is looked at, in bytes.
const LONGEST_NAME: usize = 32;

/// Elements in which `<title>` is text, or is the title of something else.
const OPAQUE: [&str; 9] = [
    "script", "style", "textarea", "template", "noscript", "iframe", "xmp", "svg", "math",
];

/// The title of a page, which is in the encoding that the `charset` of its content type names, if it has one. `None` if
/// the page has no title, or an empty one, or has not got to its end yet.
pub(super) fn title(page: &[u8], charset: Option<&str>) -> Option<Title> {
    let (page, ..) = encoding(page, charset).decode(page);
    let text = entities::decode(raw_title(&page)?);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let mut line = String::new();
    for word in words.filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(MAX_CHARACTERS) {
        line.truncate(end);
    }
    Title::parse(&line).ok()
}

/// The encoding of a page: what a byte-order mark says, else the header, else the page itself. Without any of them, it
/// is UTF-8 if the page is valid UTF-8, and the encoding of old pages otherwise.
fn encoding(page: &[u8], charset: Option<&str>) -> &'static Encoding {
    let named = |label: &str| Encoding::for_label(label.as_bytes());
    let marked = || Encoding::for_bom(page).map(|(encoding, _)| encoding);
    let declared = || charset.and_then(named).or_else(|| declared(page));
    marked().or_else(declared).unwrap_or_else(|| {
        // A character may be cut off at the end.
        match std::str::from_utf8(page) {
            Err(error) if error.error_len().is_some() => WINDOWS_1252,
            _ => UTF_8,
        }
    })
}

/// What `charset=` in the beginning of the page says.
fn declared(page: &[u8]) -> Option<&'static Encoding> {
    let beginning = page[..page.len().min(PRESCANNED)].to_ascii_lowercase();
    let start = memmem::find(&beginning, b"charset=")? + b"charset=".len();
    let label = beginning[start..].trim_ascii_start();
    let label = label.strip_prefix(b"\"").unwrap_or(label);
    let label = label.strip_prefix(b"'").unwrap_or(label);
    let end = label
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && !b"-_:.".contains(byte));
    let encoding = Encoding::for_label(&label[..end?])?;
    // What was found by reading ASCII is not UTF-16.
    Some(encoding.output_encoding())
}

/// What stands between `<title>` and `</title>`.
fn raw_title(page: &str) -> Option<&str> {
    let mut rest = page;
    loop {
        rest = &rest[rest.find('<')?..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            // `<!-->` is a comment.
            rest = match comment.strip_prefix('>') {
                Some(after) => after,
                None => after(comment, "-->")?,
            };
            continue;
        }
        let Some(name) = tag_name(rest) else {
            rest = &rest[1..];
            continue;
        };
        let content = after_tag(rest)?;
        if name.eq_ignore_ascii_case("title") {
            return Some(&content[..find_end(content, "title")?]);
        }
        let opaque = OPAQUE
            .iter()
            .find(|opaque| opaque.eq_ignore_ascii_case(name));
        rest = match opaque {
            Some(opaque) => &content[find_end(content, opaque)?..],
            None => content,
        };
    }
}

fn after<'a>(text: &'a str, end: &str) -> Option<&'a str> {
    text.split_once(end).map(|(_, after)| after)
}

/// The name of the element that begins here; `None` if none does, or one with a long name. Looks at no more than a few
/// bytes, because this is asked at every `<`.
fn tag_name(text: &str) -> Option<&str> {
    let name = text.strip_prefix('<')?;
    let mut bytes = name.bytes().take(LONGEST_NAME + 1);
    let end = bytes.position(|byte| byte.is_ascii_whitespace() || byte == b'/' || byte == b'>')?;
    let name = &name[..end];
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        .then_some(name)
}

/// What follows a tag. A `>` in the quoted value of an attribute is no end.
fn after_tag(tag: &str) -> Option<&str> {
    let mut quote = None;
    let mut before = ' ';
    for (index, c) in tag.char_indices() {
        match quote {
            Some(mark) if c == mark => quote = None,
            Some(_) => {}
            None if c == '>' => return Some(&tag[index + 1..]),
            None if before == '=' && (c == '"' || c == '\'') => quote = Some(c),
            None => {}
        }
        if !c.is_ascii_whitespace() {
            before = c;
        }
    }
    None
}

/// Where the end tag of an element begins.
fn find_end(content: &str, name: &str) -> Option<usize> {
    let bytes = content.as_bytes();
    memmem::find_iter(bytes, "</").find(|start| {
        let rest = &bytes[start + 2..];
        let is_name = rest
            .get(..name.len())
            .is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()));
        let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'/' || *byte == b'>';
        is_name && rest.get(name.len()).is_some_and(ends)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(page: &[u8], charset: Option<&str>) -> Option<String> {
        title(page, charset).map(|title| title.as_str().to_owned())
    }

    #[test]
    fn the_first_title_of_the_page_itself_is_found() {
        for (page, expected) in [
            ("<title>A page</title>", Some("A page")),
            (
                "<!doctype html><HTML><Head>\n<TITLE lang=en >x</TITLE >",
                Some("x"),
            ),
            ("<title>one</title><title>two</title>", Some("one")),
            ("<title>\n  a \t b\r\n</title>", Some("a b")),
            ("<title>a &lt;b&gt; &amp; c</title>", Some("a <b> & c")),
            (
                "<title>a <b>bold</b> one</title>",
                Some("a <b>bold</b> one"),
            ),
            ("<title>a\u{0}b\u{7f}c&#7;d</title>", Some("a b c d")),
            ("<!-- <title>no</title> --><title>yes</title>", Some("yes")),
            ("<!--><title>yes</title>-->", Some("yes")),
            (
                "<script>'<title>no</title>'</script><title>yes</title>",
                Some("yes"),
            ),
            (
                "<svg><title>no</title></svg><title>yes</title>",
                Some("yes"),
            ),
            ("<style>a</styles></style ><title>yes</title>", Some("yes")),
            (
                "<meta content=\"<title>no</title>\"><title>yes</title>",
                Some("yes"),
            ),
            ("<meta content = '>'><title>yes</title>", Some("yes")),
            ("<p title=\"no\">a < b<title>yes</title>", Some("yes")),
            ("<titles>no</titles><title>yes</title>", Some("yes")),
            ("<title>a</titles></title>", Some("a</titles>")),
            ("<title></title><title>late</title>", None),
            ("<title> &#32; </title>", None),
            ("<title>not at its end", None),
            ("<title>not at its end</title", None),
            ("<title", None),
            ("<", None),
            ("<!-- ", None),
            ("<script>", None),
            ("no markup", None),
            ("", None),
        ] {
            assert_eq!(of(page.as_bytes(), None).as_deref(), expected, "{page}");
        }
    }

    #[test]
    fn a_long_title_is_cut_between_characters() {
        let page = format!("<title>{}</title>", "ü&amp;".repeat(400));
        let title = of(page.as_bytes(), None).expect("a title");
        assert_eq!(title, "ü&".repeat(250));
        let page = format!("<title>{} b</title>", "a".repeat(499));
        assert_eq!(of(page.as_bytes(), None), Some("a".repeat(499)));
    }

    #[test]
    fn the_encoding_is_that_of_the_mark_or_the_header_or_the_page() {
        let latin = b"<title>Z\xfcrich \x80</title>";
        let utf8 = "<title>Zürich €</title>".as_bytes();
        let zurich = Some("Zürich €".to_owned());
        for charset in [
            Some("iso-8859-1"),
            Some("Windows-1252"),
            None,
            Some("nonsense"),
        ] {
            assert_eq!(of(latin, charset), zurich, "{charset:?}");
        }
        assert_eq!(
            of(latin, Some("utf-8")),
            Some("Z\u{fffd}rich \u{fffd}".to_owned())
        );
        for charset in [Some("utf-8"), Some("UTF8"), None] {
            assert_eq!(of(utf8, charset), zurich, "{charset:?}");
        }
        let marked = [b"\xef\xbb\xbf", utf8].concat();
        assert_eq!(of(&marked, Some("iso-8859-1")), zurich);
        for meta in [
            "<meta charset=windows-1252>",
            "<META CHARSET='latin1'/>",
            "<meta http-equiv=Content-Type content=\"text/html; charset=iso-8859-1\">",
        ] {
            let page = [meta.as_bytes(), latin].concat();
            assert_eq!(of(&page, None), zurich, "{meta}");
            assert_ne!(of(&page, Some("utf-8")), zurich, "{meta}");
        }
        let japanese = b"<meta charset=\"Shift_JIS\"><title>\x93\xfa\x96{</title>";
        assert_eq!(of(japanese, None), Some("日本".to_owned()));
        // No page in ASCII is in UTF-16, whatever it says.
        let page = "<meta charset=utf-16><title>ü</title>".as_bytes();
        assert_eq!(of(page, None), Some("ü".to_owned()));
        let wide: Vec<u8> = "<title>ü</title>"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let marked = [b"\xff\xfe".as_slice(), &wide].concat();
        assert_eq!(of(&marked, None), Some("ü".to_owned()));
    }
}
