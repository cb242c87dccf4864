//! From text to address: cutting into parts, and putting canonical parts together.

use std::{borrow::Cow, sync::Arc};

use super::{Address, JidError, JidPart, domain, precis};

/// Parses a whole address. The separators are found before anything is mapped, since mapping can bring
/// forth characters that look like one (RFC 7622 §3.1), and `/` comes first (§3.2).
pub(super) fn parse(text: &str) -> Result<Address, JidError> {
    let (bare, resource) = match cut(text, b'/') {
        Some((bare, resource)) => (bare, Some(resource)),
        None => (text, None),
    };
    let (local, domain) = match cut(bare, b'@') {
        Some((local, domain)) => (Some(local), domain),
        None => (None, bare),
    };
    let parts = Parts::enforce(local, domain, resource)?;
    Ok(parts.address(parts.is_all_of(text).then_some(text)))
}

/// What stands before and behind the first `separator`, an ASCII character. In strings as short as addresses
/// this is twice as fast as `split_once`.
fn cut(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = text.bytes().position(|byte| byte == separator)?;
    Some((text.get(..at)?, text.get(at.saturating_add(1)..)?))
}

/// Parses the parts one by one: no separator is looked for in them.
pub(super) fn compose(
    local: Option<&str>,
    domain: &str,
    resource: Option<&str>,
) -> Result<Address, JidError> {
    Ok(Parts::enforce(local, domain, resource)?.address(None))
}

/// Appends a resourcepart to a canonical bare address whose localpart has `local` bytes.
pub(super) fn with_resource(bare: &str, local: Option<usize>, resource: &str) -> Result<Address, JidError> {
    let resource = precis::resource(resource)?;
    let (local, domain) = match local.and_then(|length| bare.split_at_checked(length)) {
        Some((local, domain)) => (Some(local), domain.strip_prefix('@').unwrap_or(domain)),
        None => (None, bare),
    };
    let parts =
        Parts { local: local.map(Cow::Borrowed), domain: Cow::Borrowed(domain), resource: Some(resource) };
    Ok(parts.address(None))
}

/// The parts in canonical form; borrowed where the input was in that form already.
struct Parts<'a> {
    local: Option<Cow<'a, str>>,
    domain: Cow<'a, str>,
    resource: Option<Cow<'a, str>>,
}

impl<'a> Parts<'a> {
    fn enforce(local: Option<&'a str>, domain: &'a str, resource: Option<&'a str>) -> Result<Self, JidError> {
        Ok(Self {
            local: local.map(precis::local).transpose()?,
            domain: domain::enforce(domain)?,
            resource: resource.map(precis::resource).transpose()?,
        })
    }

    /// Whether the parts and their separators are `text` byte for byte, so that it can be taken whole.
    fn is_all_of(&self, text: &str) -> bool {
        let is_borrowed = |part: &Cow<'_, str>| matches!(part, Cow::Borrowed(_));
        self.local.as_ref().is_none_or(is_borrowed)
            && is_borrowed(&self.domain)
            && self.resource.as_ref().is_none_or(is_borrowed)
            && usize::from(self.offsets().2) == text.len()
    }

    /// Where the domainpart begins, the bare address ends and the whole address ends.
    #[expect(clippy::arithmetic_side_effects, reason = "three parts of at most 1023 bytes")]
    fn offsets(&self) -> (u16, u16, u16) {
        let domain = self.local.as_ref().map_or(0, |local| bytes(local) + 1);
        let bare = domain + bytes(&self.domain);
        let end = bare + self.resource.as_ref().map_or(0, |resource| bytes(resource) + 1);
        (domain, bare, end)
    }

    fn address(&self, whole: Option<&str>) -> Address {
        let (domain, bare, end) = self.offsets();
        let text = whole.map_or_else(|| Arc::from(self.joined(end)), Arc::from);
        Address { text, start: 0, domain, bare, end }
    }

    fn joined(&self, length: u16) -> String {
        let mut text = String::with_capacity(usize::from(length));
        if let Some(local) = &self.local {
            text.push_str(local);
            text.push('@');
        }
        text.push_str(&self.domain);
        if let Some(resource) = &self.resource {
            text.push('/');
            text.push_str(resource);
        }
        text
    }
}

/// The length of a canonical part, which [`check_length`] has bounded.
fn bytes(part: &str) -> u16 {
    u16::try_from(part.len()).unwrap_or(u16::MAX)
}

/// RFC 7622 §3.2 to §3.4: a part has 1 to 1023 bytes after all mapping.
pub(super) fn check_length(part: JidPart, text: &str) -> Result<(), JidError> {
    match text.len() {
        0 => Err(JidError::Empty(part)),
        1..=super::PART_BYTES_MAX => Ok(()),
        _ => Err(JidError::TooLong(part)),
    }
}
