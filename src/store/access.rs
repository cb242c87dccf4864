//! What gives a device access, as text.

use compact_str::CompactString;
use unisono_core::storage::{Access, StoreError, TokenRecord};

use crate::pack::{Packer, Unpacker};

/// The text of an access. It begins with the number of its form, so that another form can come.
pub(crate) fn pack(access: &Access) -> String {
    let mut packer = Packer::with_capacity(128);
    packer.number(1).number(access.first_seen).text(&access.software).text(&access.name);
    packer.number(access.password.unwrap_or(-1));
    for token in [&access.current, &access.next] {
        match token {
            None => packer.text_or_none(None),
            Some(token) => packer
                .text_or_none(Some(&token.mechanism))
                .text(&format!("{:x}", token.salt))
                .number(token.issued)
                .number(token.expires)
                .number(token.passwords),
        };
    }
    packer.finish()
}

pub(crate) fn unpack(text: &str) -> Result<Access, StoreError> {
    let mut unpacker = Unpacker::new(text);
    if unpacker.number::<i64>()? != 1 {
        return Err(StoreError::Corrupt("the access of a device in an unknown form".to_owned()));
    }
    Ok(Access {
        first_seen: unpacker.number()?,
        software: unpacker.text()?.into(),
        name: unpacker.text()?.into(),
        password: Some(unpacker.number::<i64>()?).filter(|passwords| *passwords >= 0),
        current: token(&mut unpacker)?,
        next: token(&mut unpacker)?,
    })
}

fn token(unpacker: &mut Unpacker<'_>) -> Result<Option<TokenRecord>, StoreError> {
    let Some(mechanism) = unpacker.text_or_none()?.map(CompactString::from) else { return Ok(None) };
    let salt = u128::from_str_radix(unpacker.text()?, 16);
    Ok(Some(TokenRecord {
        mechanism,
        salt: salt.map_err(|_| StoreError::Corrupt("the salt of a token".to_owned()))?,
        issued: unpacker.number()?,
        expires: unpacker.number()?,
        passwords: unpacker.number()?,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_access_is_read_as_it_was_written() {
        let token = TokenRecord {
            mechanism: "HT-SHA-256-NONE".into(),
            salt: u128::MAX - 1,
            issued: -3,
            expires: 4,
            passwords: 5,
        };
        let full = Access {
            first_seen: 1,
            software: "a;1:b".into(),
            name: "J\u{fc}rgen's phone".into(),
            password: Some(0),
            current: Some(TokenRecord { salt: 0, ..token.clone() }),
            next: Some(token),
        };
        for access in [Access::default(), Access { next: None, password: None, ..full.clone() }, full] {
            assert_eq!(unpack(&pack(&access)).unwrap(), access);
        }
    }

    #[test]
    fn what_is_no_access_is_refused() {
        for text in ["", "2;0;0:0:-1;-1:-1:", "1;0;0:0:-1;-1:", "1;0;0:0:-1;2:HT1:x0;0;0;-1:", "x"] {
            assert!(unpack(text).is_err(), "{text}");
        }
    }
}
