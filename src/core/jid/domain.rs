//! Domainparts (RFC 7622 §3.2): domain names of IDNA2008 as U-labels in lower case, and IP addresses.

use std::{borrow::Cow, net::Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{
    JidError, JidPart, PART_BYTES_MAX,
    class::{self, Class},
    parse::check_length,
    plain,
};

/// Bytes of a domain name and of one of its labels in ASCII form (RFC 1034 §3.1, without the root).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Brings a domainpart into its canonical form.
pub(super) fn enforce(text: &str) -> Result<Cow<'_, str>, JidError> {
    if text.len() > PART_BYTES_MAX {
        return Err(JidError::TooLong(JidPart::Domain));
    }
    // The dot of the root goes before anything else happens (§3.2).
    let (name, root) = match text.strip_suffix('.') {
        Some(name) => (name, DnsLength::Verify),
        None => (text, DnsLength::VerifyAllowRootDot),
    };
    if is_plain_name(name.as_bytes()) {
        return Ok(Cow::Borrowed(name));
    }
    check_length(JidPart::Domain, name)?;
    if let Some(literal) = name.strip_prefix('[') {
        return address_literal(literal.strip_suffix(']')).map(Cow::Owned);
    }
    let lower = name.to_ascii_lowercase();
    if is_plain_name(lower.as_bytes()) {
        return Ok(Cow::Owned(lower));
    }
    international(&lower, root).map(Cow::Owned)
}

/// Names that need no table: lower-case letters, digits and hyphens, and no label that IDNA reserves (hyphens
/// in its third and fourth place, RFC 5890 §2.3.1; `xn--` is one). IPv4 addresses are among them.
fn is_plain_name(name: &[u8]) -> bool {
    let mut label_bytes: usize = 0;
    let mut last = b'.';
    for byte in name.iter().copied() {
        match byte {
            _ if plain::is(byte, plain::LABEL) => label_bytes = label_bytes.saturating_add(1),
            b'-' if label_bytes > 0 && !(label_bytes == 3 && last == b'-') => {
                label_bytes = label_bytes.saturating_add(1);
            }
            b'.' if label_bytes > 0 && last != b'-' => label_bytes = 0,
            _ => return false,
        }
        if label_bytes > LABEL_BYTES_MAX {
            return false;
        }
        last = byte;
    }
    label_bytes > 0 && last != b'-' && name.len() <= NAME_BYTES_MAX
}

/// UTS 46 maps case, width and composition, decodes A-labels, and checks hyphens, lengths, joiners and
/// directions. It lets symbols pass, which IDNA2008 does not: so the characters are checked on top. `root` says
/// whether the dot of the root may still come forth from the mapping.
fn international(name: &str, root: DnsLength) -> Result<String, JidError> {
    let uts46 = Uts46::new();
    // The lengths of the DNS are those of the ASCII form.
    let ascii = uts46
        .to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, root)
        .map_err(|_| JidError::DomainName)?;
    let ascii = ascii.strip_suffix('.').unwrap_or(&ascii);
    let (unicode, result) = uts46.to_unicode(ascii.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    result.map_err(|_| JidError::DomainName)?;
    for label in unicode.split('.') {
        let ignorable = label.chars().find(|c| is_in_ignorable_block(*c));
        ignorable
            .map_or_else(|| class::check(label, Class::Identifier), Err)
            .map_err(|c| JidError::Character(JidPart::Domain, c))?;
    }
    check_length(JidPart::Domain, &unicode)?;
    Ok(unicode.into_owned())
}

/// RFC 5892 §2.4: what an identifier of PRECIS may hold, but a U-label may not.
fn is_in_ignorable_block(c: char) -> bool {
    matches!(c, '\u{20d0}'..='\u{20ff}' | '\u{1d100}'..='\u{1d24f}')
}

/// `[` IPv6 address `]` in the form of RFC 5952, with the zone of RFC 6874 where there is one. The `IPvFuture`
/// of RFC 3986 is refused: none was ever defined.
fn address_literal(inner: Option<&str>) -> Result<String, JidError> {
    let inner = inner.ok_or(JidError::AddressLiteral)?;
    let (address, zone) = match inner.split_once("%25") {
        Some((address, zone)) => (address, Some(zone)),
        None => (inner, None),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| JidError::AddressLiteral)?;
    match zone {
        None => Ok(format!("[{address}]")),
        Some(zone) if is_zone(zone) => Ok(format!("[{address}%25{zone}]")),
        Some(_) => Err(JidError::AddressLiteral),
    }
}

/// RFC 6874 §2: unreserved characters. Percent-encoded ones are refused, since no interface needs them.
fn is_zone(zone: &str) -> bool {
    !zone.is_empty()
        && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}
