//! From the name of an extension to the names of its files and types.

/// The number of a XEP, written with four digits.
pub(crate) fn number(text: &str) -> Option<u16> {
    (text.len() == 4 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The name of an extension as its file bears it: small letters, digits and single `_`.
pub(crate) fn is_name(text: &str) -> bool {
    let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
    let is_plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    starts_well && is_plain && !text.ends_with('_') && !text.contains("__")
}

/// `stream_management` as a type: `StreamManagement`.
pub(crate) fn type_name(name: &str) -> String {
    name.split('_').map(capitalised).collect()
}

/// `stream_management` as a title: `Stream Management`.
pub(crate) fn title(name: &str) -> String {
    name.split('_').map(capitalised).collect::<Vec<_>>().join(" ")
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_four_digits() {
        for (text, want) in [
            ("0333", Some(333)),
            ("0004", Some(4)),
            ("333", None),
            ("00333", None),
            ("+333", None),
            ("03a3", None),
            ("", None),
        ] {
            assert_eq!(number(text), want, "{text}");
        }
    }

    #[test]
    fn names_are_those_of_files() {
        for (text, want) in [
            ("markers", true),
            ("stream_management", true),
            ("caps2", true),
            ("Markers", false),
            ("2caps", false),
            ("a-b", false),
            ("a__b", false),
            ("_a", false),
            ("a_", false),
            ("../a", false),
            ("", false),
        ] {
            assert_eq!(is_name(text), want, "{text}");
        }
    }

    #[test]
    fn types_and_titles_follow_the_name() {
        assert_eq!(type_name("stream_management"), "StreamManagement");
        assert_eq!(title("stream_management"), "Stream Management");
        assert_eq!(type_name("markers"), "Markers");
    }
}
