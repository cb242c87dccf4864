//! What the first bytes of an image tell of it.

/// What an image is, and how large where its first bytes say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Image {
    /// The content type, as IANA has it.
    pub(crate) kind: &'static str,
    /// Width and height in pixels.
    pub(crate) size: Option<(u16, u16)>,
}

/// Recognises PNG, JPEG, GIF and WebP.
pub(crate) fn recognise(bytes: &[u8]) -> Option<Image> {
    if let Some(rest) = bytes.strip_prefix(b"\x89PNG\r\n\x1a\n") {
        // The header comes first: its length, its name, width and height.
        return Some(Image { kind: "image/png", size: pair(rest, 8, u32_be) });
    }
    if let Some(rest) = bytes.strip_prefix(b"GIF87a").or_else(|| bytes.strip_prefix(b"GIF89a")) {
        return Some(Image { kind: "image/gif", size: pair_of(u16_le(rest, 0), u16_le(rest, 2)) });
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some(Image { kind: "image/jpeg", size: jpeg_size(bytes) });
    }
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    is_webp.then(|| Image { kind: "image/webp", size: webp_size(bytes) })
}

/// The size stands in the first frame header; the segments before it say how long they are.
fn jpeg_size(bytes: &[u8]) -> Option<(u16, u16)> {
    let mut at = 2_usize;
    loop {
        let [0xff, marker] = *bytes.get(at..at.checked_add(2)?)? else { return None };
        match marker {
            // Filling.
            0xff => at = at.checked_add(1)?,
            // Start of a frame, but for those that define tables (C4, CC) and the extension (C8).
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                let (height, width) = (u16_be(bytes, at.checked_add(5)?), u16_be(bytes, at.checked_add(7)?));
                return pair_of(width, height);
            }
            // Segments without a length; after the start of the scan there is no header.
            0x01 | 0xd0..=0xd8 => at = at.checked_add(2)?,
            0xd9 | 0xda => return None,
            _ => at = at.checked_add(2)?.checked_add(u16_be(bytes, at.checked_add(2)?)? as usize)?,
        }
    }
}

/// One of three kinds of first chunk.
fn webp_size(bytes: &[u8]) -> Option<(u16, u16)> {
    match bytes.get(12..16)? {
        // Behind a frame tag and a start code, 14 bits each.
        b"VP8 " => {
            let side = |at| u16_le(bytes, at).map(|side| u32::from(side & 0x3fff));
            pair_of(side(26), side(28))
        }
        // Behind a signature, 14 bits each, less one.
        b"VP8L" => {
            let bits = u32_le(bytes, 21)?;
            let side = |bits: u32| (bits & 0x3fff).checked_add(1);
            pair_of(side(bits), side(bits >> 14))
        }
        // 24 bits each, less one.
        b"VP8X" => {
            let side = |at: usize| (u32_le(bytes, at)? & 0x00ff_ffff).checked_add(1);
            pair_of(side(24), side(27).or_else(|| side_at_end(bytes)))
        }
        _ => None,
    }
}

/// The height of an extended header that is the end of what there is.
fn side_at_end(bytes: &[u8]) -> Option<u32> {
    let [a, b, c] = *bytes.get(27..30)? else { return None };
    u32::from_le_bytes([a, b, c, 0]).checked_add(1)
}

fn pair(bytes: &[u8], at: usize, read: fn(&[u8], usize) -> Option<u32>) -> Option<(u16, u16)> {
    pair_of(read(bytes, at), read(bytes, at.checked_add(4)?))
}

/// XEP-0084 §11.2 has no room for more than 16 bits, and no image has no size.
fn pair_of(width: Option<impl TryInto<u16>>, height: Option<impl TryInto<u16>>) -> Option<(u16, u16)> {
    let (width, height) = (width?.try_into().ok()?, height?.try_into().ok()?);
    (width > 0 && height > 0).then_some((width, height))
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn u16_be(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_be_bytes)
}

fn u16_le(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_be(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_be_bytes)
}

fn u32_le(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_images_say_of_themselves() {
        let of = |kind, size| Some(Image { kind, size });
        for (bytes, want) in [
            (&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x40\0\0\x01\x02"[..], of("image/png", Some((64, 258)))),
            (b"\x89PNG\r\n\x1a\n", of("image/png", None)),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\0\0\0\x01\x02", of("image/png", None)), // no width
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\x01\0\0\0\0\x01\x02", of("image/png", None)), // too wide
            (b"GIF89a\x20\0\x10\x01", of("image/gif", Some((32, 272)))),
            (b"GIF87a\x20", of("image/gif", None)),
            (b"\xff\xd8\xff\xe0\0\x04ab\xff\xff\xc2\0\x0b\x08\0\x30\0\x20", of("image/jpeg", Some((32, 48)))),
            (b"\xff\xd8\xff\xc4\0\x04ab\xff\xc0\0\x0b\x08\0\x30\0\x20", of("image/jpeg", Some((32, 48)))),
            (b"\xff\xd8\xff\xe0\0\0\xff\xe0\0\0", of("image/jpeg", None)), // a segment that has no end
            (b"\xff\xd8\xff\xda\0\x04", of("image/jpeg", None)),
            (b"\xff\xd8\xff", of("image/jpeg", None)),
            (
                b"RIFF\0\0\0\0WEBPVP8 \0\0\0\0\x30\x01\0\x9d\x01\x2a\x60\0\x60\0",
                of("image/webp", Some((96, 96))),
            ),
            (b"RIFF\0\0\0\0WEBPVP8L\0\0\0\0\x2f\x1f\xc0\x07\0", of("image/webp", Some((32, 32)))),
            (b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\x5f\0\0\x1f\0\0", of("image/webp", Some((96, 32)))),
            (b"RIFF\0\0\0\0WEBPVP9 ", of("image/webp", None)),
            (b"RIFF\0\0\0\0WAVE", None),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
            (b"", None),
        ] {
            assert_eq!(recognise(bytes), want, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_image_is_too_strange(start in 0_usize..6, rest in proptest::collection::vec(any::<u8>(), 0..200)) {
            let starts: [&[u8]; 6] = [
                b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBPVP8X", b"RIFF\0\0\0\0WEBPVP8L", b"",
            ];
            recognise(&[starts.get(start).copied().unwrap_or_default(), &rest].concat());
        }
    }
}
