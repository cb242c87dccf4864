//! Localparts and resourceparts: the PRECIS profiles UsernameCaseMapped and OpaqueString (RFC 8265).

use std::borrow::Cow;

use precis_profiles::{
    OpaqueString, UsernameCaseMapped,
    precis_core::{Error, profile::PrecisFastInvocation},
};

use super::{JidError, JidPart, PART_BYTES_MAX, parse::check_length};

/// Bytes of unmapped input that can still shrink to a part: a mapping shortens a character to no less
/// than a third. More is refused before any table is asked.
const INPUT_BYTES_MAX: usize = 3 * PART_BYTES_MAX;

/// UsernameCaseMapped less the characters of RFC 7622 §3.3.1.
pub(super) fn local(text: &str) -> Result<Cow<'_, str>, JidError> {
    let enforced = if text.is_ascii() {
        lower_ascii(text)
    } else {
        enforce::<UsernameCaseMapped>(text, JidPart::Local)?
    };
    check_length(JidPart::Local, &enforced)?;
    // After the mapping, which turns U+FF20 into `@`.
    match enforced.chars().find(|c| is_excluded_from_local(*c)) {
        Some(c) => Err(JidError::Character(JidPart::Local, c)),
        None => Ok(enforced),
    }
}

/// OpaqueString; RFC 7622 §3.5 (example 18) adds that no space leads.
pub(super) fn resource(text: &str) -> Result<Cow<'_, str>, JidError> {
    let enforced =
        if text.is_ascii() { Cow::Borrowed(text) } else { enforce::<OpaqueString>(text, JidPart::Resource)? };
    check_length(JidPart::Resource, &enforced)?;
    if enforced.starts_with(' ') {
        return Err(JidError::Character(JidPart::Resource, ' '));
    }
    match enforced.chars().find(char::is_ascii_control) {
        Some(c) => Err(JidError::Character(JidPart::Resource, c)),
        None => Ok(enforced),
    }
}

fn is_excluded_from_local(c: char) -> bool {
    matches!(c, '"' | '&' | '\'' | '/' | ':' | '<' | '>' | '@' | ' ') || c.is_ascii_control()
}

fn lower_ascii(text: &str) -> Cow<'_, str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// Applies a profile until nothing changes any more, as RFC 8264 §7 asks, with its bound of three more times.
fn enforce<P: PrecisFastInvocation>(text: &str, part: JidPart) -> Result<Cow<'_, str>, JidError> {
    if text.len() > INPUT_BYTES_MAX {
        return Err(JidError::TooLong(part));
    }
    let refuse = |error| match error {
        Error::BadCodepoint(info) => {
            JidError::Character(part, char::from_u32(info.cp).unwrap_or(char::REPLACEMENT_CHARACTER))
        }
        Error::Invalid => JidError::Direction(part),
        Error::Unexpected(_) => JidError::Unstable(part),
    };
    let mut enforced = P::enforce(text).map_err(refuse)?;
    for _ in 0..3 {
        let again = P::enforce(&*enforced).map_err(refuse)?;
        if again == enforced {
            return Ok(enforced);
        }
        enforced = Cow::Owned(again.into_owned());
    }
    Err(JidError::Unstable(part))
}
