//! A message as one text: what the databases store of it, besides the columns that SQL needs.

use std::sync::Arc;

use unisono_core::ids::{AccountId, DeviceId, LogPosition, SessionId};
use unisono_core::jid::Jid;
use unisono_core::record::{Keep, MessageRecord, Origin, Payload, Place};
use unisono_core::stanza::MessageType;
use unisono_core::storage::StoreError;

use crate::pack::{Packer, Unpacker};

/// The first value of each record, so that a later form can be told from this one.
const FORM: i64 = 1;
/// The same form, of a message that was retracted: its payload is not the first.
const RETRACTED: i64 = 2;
/// The same form, of a message that says something new.
const SPEAKS: i64 = 3;

/// Packs a message; one that is retracted, with the payload that takes the place of its own.
pub(crate) fn encode(record: &MessageRecord, payload: Option<&str>) -> String {
    let form = match payload {
        Some(_) => RETRACTED,
        None if record.speaks => SPEAKS,
        None => FORM,
    };
    let payload = payload.unwrap_or_else(|| record.payload.text());
    let mut packer = Packer::with_capacity(payload.len().saturating_add(256));
    packer
        .number(form)
        .text(record.from.as_str())
        .text(record.to.as_str())
        .text_or_none(record.id.as_deref())
        .text(record.kind.as_str())
        .text_or_none(record.lang.as_deref())
        .number(record.fingerprint);
    encode_place(&mut packer, record.sent.as_ref());
    encode_place(&mut packer, record.received.as_ref());
    encode_origin(&mut packer, record.origin);
    packer.text(payload);
    packer.finish()
}

fn encode_place(packer: &mut Packer, place: Option<&Place>) {
    let Some(place) = place else {
        packer.number(0);
        return;
    };
    let keep = match place.keep {
        Keep::Archive => 1,
        Keep::UntilDelivered => 2,
        Keep::Nothing => 3,
    };
    let deliveries = i64::try_from(place.deliveries.len()).unwrap_or(i64::MAX);
    packer.number(keep).number(place.account.0).number(place.position.0).number(deliveries);
    for (session, number) in &place.deliveries {
        packer.number(session.0).number(i64::from(*number));
    }
}

fn encode_origin(packer: &mut Packer, origin: Option<Origin>) {
    match origin {
        None => packer.number(0),
        Some(Origin { device, session: None }) => packer.number(1).number(device.0),
        Some(Origin { device, session: Some((session, handled)) }) => {
            packer.number(2).number(device.0).number(session.0).number(i64::from(handled))
        }
    };
}

/// Unpacks all messages of a text.
pub(crate) fn decode_all(packed: &str) -> Result<Vec<Arc<MessageRecord>>, StoreError> {
    let mut last: Option<Arc<MessageRecord>> = None;
    Unpacker::new(packed).all(|unpacker| {
        let record = Arc::new(decode_after(last.as_deref(), unpacker)?);
        last = Some(record.clone());
        Ok(record)
    })
}

/// Whether the packed message was retracted.
pub(crate) fn is_retracted(packed: &str) -> Result<bool, StoreError> {
    Ok(Unpacker::new(packed).number::<i64>()? == RETRACTED)
}

/// Unpacks one message.
pub(crate) fn decode(unpacker: &mut Unpacker<'_>) -> Result<MessageRecord, StoreError> {
    decode_after(None, unpacker)
}

/// The same; its addresses are often those of the message before it, and need not be read again.
fn decode_after(
    last: Option<&MessageRecord>,
    unpacker: &mut Unpacker<'_>,
) -> Result<MessageRecord, StoreError> {
    let form = unpacker.number()?;
    if ![FORM, RETRACTED, SPEAKS].contains(&form) {
        return Err(corrupt("a message in an unknown form"));
    }
    Ok(MessageRecord {
        from: address(last, unpacker)?,
        to: address(last, unpacker)?,
        id: unpacker.text_or_none()?.map(Into::into),
        kind: MessageType::parse(unpacker.text()?).ok_or_else(|| corrupt("an unknown type of message"))?,
        lang: unpacker.text_or_none()?.map(Into::into),
        fingerprint: unpacker.number()?,
        sent: decode_place(unpacker)?,
        received: decode_place(unpacker)?,
        origin: decode_origin(unpacker)?,
        speaks: form == SPEAKS,
        payload: Payload::from_text(unpacker.text()?),
    })
}

fn address(last: Option<&MessageRecord>, unpacker: &mut Unpacker<'_>) -> Result<Jid, StoreError> {
    let text = unpacker.text()?;
    let known = last.and_then(|last| [&last.from, &last.to].into_iter().find(|jid| jid.as_str() == text));
    known.map_or_else(|| text.parse().map_err(|_| corrupt("an address that is none")), |jid| Ok(jid.clone()))
}

fn decode_place(unpacker: &mut Unpacker<'_>) -> Result<Option<Place>, StoreError> {
    let keep = match unpacker.number::<i64>()? {
        0 => return Ok(None),
        1 => Keep::Archive,
        2 => Keep::UntilDelivered,
        3 => Keep::Nothing,
        _ => return Err(corrupt("an entry of unknown kind")),
    };
    let account = AccountId(unpacker.number()?);
    let position = LogPosition(unpacker.number()?);
    let count: usize = unpacker.number()?;
    let deliveries = (0..count).map(|_| Ok((SessionId(unpacker.number()?), unpacker.number()?)));
    let deliveries = deliveries.collect::<Result<_, StoreError>>()?;
    Ok(Some(Place { account, position, keep, deliveries }))
}

fn decode_origin(unpacker: &mut Unpacker<'_>) -> Result<Option<Origin>, StoreError> {
    let form: i64 = unpacker.number()?;
    if form == 0 {
        return Ok(None);
    }
    let device = DeviceId(unpacker.number()?);
    let session = match form {
        1 => None,
        2 => Some((SessionId(unpacker.number()?), unpacker.number()?)),
        _ => return Err(corrupt("an origin of unknown kind")),
    };
    Ok(Some(Origin { device, session }))
}

fn corrupt(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    fn place(account: i64, keep: Keep, deliveries: &[(i64, u32)]) -> Place {
        let deliveries = deliveries.iter().map(|(session, number)| (SessionId(*session), *number)).collect();
        Place { account: AccountId(account), position: LogPosition(account * 1000), keep, deliveries }
    }

    fn records() -> Vec<MessageRecord> {
        let full = MessageRecord {
            from: "alice@example.org/phone: 1;".parse().unwrap(),
            to: "bob@example.org".parse().unwrap(),
            id: Some("a:1;".into()),
            kind: MessageType::Chat,
            lang: Some("de".into()),
            payload: Payload::from_text("<body>grüße; 3:abc</body>"),
            sent: Some(place(1, Keep::Archive, &[(-5, 1), (i64::MAX, u32::MAX)])),
            received: Some(place(2, Keep::UntilDelivered, &[])),
            origin: Some(Origin { device: DeviceId(9), session: Some((SessionId(-3), 4)) }),
            speaks: true,
            fingerprint: i64::MIN,
        };
        let bare = MessageRecord {
            id: None,
            lang: None,
            kind: MessageType::Normal,
            sent: Some(place(1, Keep::Nothing, &[(1, 1)])),
            received: None,
            origin: None,
            fingerprint: 0,
            payload: Payload::from_text(""),
            ..full.clone()
        };
        let sessionless =
            MessageRecord { origin: Some(Origin { device: DeviceId(1), session: None }), ..full.clone() };
        let silent = MessageRecord { speaks: false, ..full.clone() };
        vec![full, bare, sessionless, silent]
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let records = records();
        let packed: String = records.iter().map(|record| encode(record, None)).collect();
        let back = decode_all(&packed).unwrap();
        assert_eq!(back.len(), records.len());
        for (stored, read) in records.iter().zip(back) {
            assert_eq!(format!("{stored:?}"), format!("{read:?}"));
        }
    }

    #[test]
    fn another_payload_takes_the_place_of_the_first() {
        let packed = encode(&records()[0], Some("<retracted/>"));
        assert_eq!(decode_all(&packed).unwrap()[0].payload.text(), "<retracted/>");
        assert!(is_retracted(&packed).unwrap());
        assert!(!is_retracted(&encode(&records()[0], None)).unwrap());
    }

    #[test]
    fn what_is_cut_off_or_strange_is_an_error() {
        let packed = encode(&records()[0], None);
        for end in (1..packed.len()).filter(|end| packed.is_char_boundary(*end)) {
            assert!(decode_all(&packed[..end]).is_err(), "{end}");
        }
        assert!(decode_all(&packed.replacen('3', "4", 1)).is_err());
        assert!(decode_all(&packed.replacen("bob@", "@@@@", 1)).is_err());
    }
}
