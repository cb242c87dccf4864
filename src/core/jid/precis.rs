//! Localparts and resourceparts: the PRECIS profiles UsernameCaseMapped and OpaqueString (RFC 8265).

use std::borrow::Cow;

use precis_profiles::{
    OpaqueString, UsernameCaseMapped,
    precis_core::{Error, profile::Rules},
};

use super::{
    JidError, JidPart, PART_BYTES_MAX,
    class::{self, Class},
    parse::check_length,
    plain,
};

/// Bytes of input that can still shrink to a part: no mapping shortens a text to less than a third. More is
/// refused before any table is asked.
const INPUT_BYTES_MAX: usize = 3 * PART_BYTES_MAX;

/// How often a profile is applied until its output must be stable: once, and three times more (RFC 8264 §7).
const ROUNDS_MAX: usize = 4;

/// UsernameCaseMapped less the characters of RFC 7622 §3.3.1.
pub(super) fn local(text: &str) -> Result<Cow<'_, str>, JidError> {
    if text.bytes().all(|byte| plain::is(byte, plain::LOCAL)) {
        return check_length(JidPart::Local, text).map(|()| Cow::Borrowed(text));
    }
    let local = if text.is_ascii() {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        until_stable(text, JidPart::Local, username)?
    };
    check_length(JidPart::Local, &local)?;
    // After the mapping, which turns U+FF20 into `@`.
    match local.bytes().find(|byte| byte.is_ascii() && !plain::is(*byte, plain::LOCAL)) {
        Some(byte) => Err(JidError::Character(JidPart::Local, char::from(byte))),
        None => Ok(local),
    }
}

/// OpaqueString. RFC 7622 §3.5 adds in its example 18 that no space leads.
pub(super) fn resource(text: &str) -> Result<Cow<'_, str>, JidError> {
    let resource = if text.bytes().all(|byte| plain::is(byte, plain::RESOURCE)) {
        Cow::Borrowed(text)
    } else {
        until_stable(text, JidPart::Resource, opaque)?
    };
    check_length(JidPart::Resource, &resource)?;
    if resource.starts_with(' ') {
        return Err(JidError::Character(JidPart::Resource, ' '));
    }
    Ok(resource)
}

/// A text by the profile OpaqueString (RFC 8265 §4.2), which is that of passwords, too: spaces of all kinds become
/// U+0020, and it is composed (NFC). `None` if it is empty, has a character that is not allowed or not where it
/// stands, or is longer than three times [`PART_BYTES_MAX`]. The time is linear in its length.
pub fn opaque_string(text: &str) -> Option<Cow<'_, str>> {
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|byte| plain::is(byte, plain::RESOURCE)) {
        return Some(Cow::Borrowed(text));
    }
    until_stable(text, JidPart::Resource, opaque).ok()
}

type Profile = for<'a> fn(&'a str) -> Result<Cow<'a, str>, JidError>;

fn until_stable(text: &str, part: JidPart, profile: Profile) -> Result<Cow<'_, str>, JidError> {
    if text.len() > INPUT_BYTES_MAX {
        return Err(JidError::TooLong(part));
    }
    let mut current = Cow::Borrowed(text);
    for _ in 0..ROUNDS_MAX {
        let next = profile(&current)?;
        if next == current {
            return Ok(current);
        }
        current = Cow::Owned(next.into_owned());
    }
    Err(JidError::Unstable(part))
}

/// RFC 8265 §3.3.
fn username(text: &str) -> Result<Cow<'_, str>, JidError> {
    const PART: JidPart = JidPart::Local;

    let profile = UsernameCaseMapped::new();
    let text = profile.width_mapping_rule(text).map_err(|error| refuse(PART, &error))?;
    class::check(&text, Class::Identifier).map_err(|c| JidError::Character(PART, c))?;
    profile
        .case_mapping_rule(text)
        .and_then(|text| profile.normalization_rule(text))
        .and_then(|text| profile.directionality_rule(text))
        .map_err(|error| refuse(PART, &error))
}

/// RFC 8265 §4.2.
fn opaque(text: &str) -> Result<Cow<'_, str>, JidError> {
    const PART: JidPart = JidPart::Resource;

    let profile = OpaqueString::new();
    class::check(text, Class::Freeform).map_err(|c| JidError::Character(PART, c))?;
    profile
        .additional_mapping_rule(text)
        .and_then(|text| profile.normalization_rule(text))
        .map_err(|error| refuse(PART, &error))
}

/// Of the rules that are asked for an error, only directionality has one.
fn refuse(part: JidPart, error: &Error) -> JidError {
    match error {
        Error::Invalid => JidError::Direction(part),
        Error::BadCodepoint(_) | Error::Unexpected(_) => JidError::Unstable(part),
    }
}
