//! Domainparts (RFC 7622 §3.2): domain names of IDNA2008 as U-labels in lower case, and IP addresses.

use std::{borrow::Cow, net::Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::{JidError, JidPart, PART_BYTES_MAX, parse::check_length};

/// Bytes of a domain name and of one of its labels in ASCII form (RFC 1034 §3.1, without the root).
const NAME_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Brings a domainpart into its canonical form.
pub(super) fn enforce(text: &str) -> Result<Cow<'_, str>, JidError> {
    if text.len() > PART_BYTES_MAX {
        return Err(JidError::TooLong(JidPart::Domain));
    }
    // The dot of the root goes before anything else happens (§3.2).
    let name = text.strip_suffix('.').unwrap_or(text);
    check_length(JidPart::Domain, name)?;
    if let Some(literal) = name.strip_prefix('[') {
        return address_literal(literal.strip_suffix(']'));
    }
    if is_lower_ascii_name(name.as_bytes()) {
        return Ok(Cow::Borrowed(name));
    }
    international(name).map(Cow::Owned)
}

/// Names that need no table: lower-case letters, digits and hyphens, and no label that IDNA reserves
/// (hyphens in its third and fourth place, among them `xn--`, RFC 5890 §2.3.1).
fn is_lower_ascii_name(name: &[u8]) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.split(|byte| *byte == b'.').all(|label| {
            (1..=LABEL_BYTES_MAX).contains(&label.len())
                && label.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
                && label.first() != Some(&b'-')
                && label.last() != Some(&b'-')
                && label.get(2..4) != Some(b"--")
        })
}

/// UTS 46 maps case, width and composition; the checks on top of it are those of IDNA2008.
fn international(name: &str) -> Result<String, JidError> {
    let uts46 = Uts46::new();
    let ascii = uts46
        .to_ascii(name.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify)
        .map_err(|_| JidError::DomainName)?;
    let (unicode, result) = uts46.to_unicode(ascii.as_bytes(), AsciiDenyList::STD3, Hyphens::Check);
    result.map_err(|_| JidError::DomainName)?;
    check_length(JidPart::Domain, &unicode)?;
    Ok(unicode.into_owned())
}

/// `[` IPv6 address `]`, with the zone of RFC 6874 where there is one, in the form of RFC 5952.
fn address_literal(inner: Option<&str>) -> Result<Cow<'static, str>, JidError> {
    let inner = inner.ok_or(JidError::AddressLiteral)?;
    let (address, zone) = match inner.split_once("%25") {
        Some((address, zone)) => (address, Some(zone)),
        None => (inner, None),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| JidError::AddressLiteral)?;
    match zone {
        None => Ok(Cow::Owned(format!("[{address}]"))),
        Some(zone) if is_zone(zone) => Ok(Cow::Owned(format!("[{address}%25{zone}]"))),
        Some(_) => Err(JidError::AddressLiteral),
    }
}

/// RFC 6874 §2: unreserved characters; percent-encoded ones are refused, since no interface needs them.
fn is_zone(zone: &str) -> bool {
    !zone.is_empty()
        && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}
