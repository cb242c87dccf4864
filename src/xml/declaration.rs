//! The XML declaration, `<?xml version='1.0'?>` (XML 1.0 §2.8, RFC 6120 §11.5).

use crate::XmlError;

/// XML 1.0 §2.8 `XMLDecl`: version, then encoding, then standalone, the last two if at all.
pub(crate) fn check(text: &str) -> Result<(), XmlError> {
    const BAD: XmlError = XmlError::NotWellFormed("the XML declaration is malformed");
    let mut rest = text.strip_prefix("<?xml").and_then(|text| text.strip_suffix("?>")).ok_or(BAD)?;
    let mut version = None;
    let mut last = 0_u8;
    while let Some((name, value, tail)) = pseudo_attribute(rest).ok_or(BAD)? {
        rest = tail;
        let order = match name {
            "version" => 1,
            "encoding" => 2,
            "standalone" => 3,
            _ => return Err(BAD),
        };
        if order <= last || (last == 0 && order != 1) {
            return Err(BAD);
        }
        last = order;
        match name {
            "version" => version = Some(value),
            "encoding" if !value.eq_ignore_ascii_case("utf-8") => return Err(XmlError::UnsupportedEncoding),
            // RFC 6120 §11.5: a "no" is ignored.
            "standalone" if value != "yes" && value != "no" => return Err(BAD),
            _ => {}
        }
    }
    match version {
        Some("1.0") => Ok(()),
        Some(_) => Err(XmlError::InvalidXml("another version of XML than 1.0")), // RFC 6120 §11.8
        None => Err(BAD),
    }
}

/// Splits off one `name='value'` with the white space before it. The inner `None` is the end.
#[expect(clippy::option_option, reason = "one level says malformed, the other says finished")]
fn pseudo_attribute(text: &str) -> Option<Option<(&str, &str, &str)>> {
    const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
    let rest = text.trim_start_matches(SPACE);
    if rest.is_empty() {
        return Some(None);
    }
    if rest.len() == text.len() {
        return None;
    }
    let (name, rest) = rest.split_once('=')?;
    let rest = rest.trim_start_matches(SPACE);
    let quote = rest.chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
    let (value, rest) = rest.strip_prefix(quote)?.split_once(quote)?;
    Some(Some((name.trim_end_matches(SPACE), value, rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_says_version_encoding_and_standalone_in_this_order() {
        for good in [
            "<?xml version='1.0'?>",
            "<?xml version=\"1.0\"?>",
            "<?xml\tversion\n=\r'1.0' ?>",
            "<?xml version='1.0' encoding='UTF-8'?>",
            "<?xml version='1.0' encoding=\"utf-8\" standalone='yes'?>",
            "<?xml version='1.0' standalone='no'?>", // RFC 6120 §11.5
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "<?xml?>",
            "<?xml ?>",
            "<?xml version?>",
            "<?xml version=1.0?>",
            "<?xml version='1.0?>",
            "<?xml version='1.0\"?>",
            "<?xml version='1.0'encoding='UTF-8'?>",
            "<?xml encoding='UTF-8'?>",
            "<?xml encoding='UTF-8' version='1.0'?>",
            "<?xml version='1.0' standalone='yes' encoding='UTF-8'?>",
            "<?xml version='1.0' version='1.0'?>",
            "<?xml version='1.0' standalone='maybe'?>",
            "<?xml version='1.0' lang='en'?>",
            "<?xml version='1.0' ??>",
            "<?xml version='1.0' x?>",
            "<?xmlversion='1.0'?>",
        ] {
            assert!(matches!(check(bad), Err(XmlError::NotWellFormed(_))), "{bad}");
        }
        for other in ["UTF-16", "utf8", "ISO-8859-1", "", "UTF-8 "] {
            let text = format!("<?xml version='1.0' encoding='{other}'?>");
            assert_eq!(check(&text), Err(XmlError::UnsupportedEncoding), "{text}"); // RFC 6120 §11.6
        }
        for other in ["1.1", "1", "2.0", "", "1.0 "] {
            let text = format!("<?xml version='{other}'?>");
            assert!(matches!(check(&text), Err(XmlError::InvalidXml(_))), "{text}"); // RFC 6120 §11.8
        }
    }
}
