//! What a chat message costs: read from a stream and written to one.
//!
//! The target is 2 µs for both together. The second group shows that the cost is linear: its throughput must
//! not fall as the input grows.

use std::hint::black_box;

use bytes::BytesMut;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use unisono_xml::{Element, Limits, Scope, StreamEvent, StreamReader};

const HEADER: &str = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' to='example.org' version='1.0' \
                      xmlns:stream='http://etherx.jabber.org/streams'>";

/// What a mobile client sends for a line of text.
const MESSAGE: &str = "<message to='juliet@capulet.example' from='romeo@montague.example/orchard.7Yk2' \
                       id='4f2c9a1e-7b1d-4c0e' type='chat'><body>But, soft! what light through yonder window breaks? \
                       It is the east</body><request xmlns='urn:xmpp:receipts'/><active \
                       xmlns='http://jabber.org/protocol/chatstates'/></message>";

const SCOPE: Scope<'_> =
    Scope { default_ns: "jabber:client", prefixes: &[("stream", "http://etherx.jabber.org/streams")] };

fn opened(limits: Limits) -> StreamReader {
    let mut reader = StreamReader::new(limits);
    let header = reader.next(&mut BytesMut::from(HEADER));
    assert!(matches!(header, Ok(Some(StreamEvent::Open(_)))), "{header:?}");
    reader
}

fn read(reader: &mut StreamReader, input: &mut BytesMut) -> Element {
    match reader.next(input) {
        Ok(Some(StreamEvent::Element(element))) => element,
        other => panic!("no element, but {other:?}"),
    }
}

fn message(c: &mut Criterion) {
    let mut group = c.benchmark_group("message");
    group.throughput(Throughput::Bytes(MESSAGE.len() as u64));
    let mut reader = opened(Limits::default());
    let element = read(&mut reader, &mut BytesMut::from(MESSAGE));
    let mut out = Vec::with_capacity(1024);

    group.bench_function("parse", |b| {
        let mut input = BytesMut::with_capacity(1024);
        b.iter(|| {
            input.extend_from_slice(black_box(MESSAGE).as_bytes());
            read(&mut reader, &mut input)
        });
    });
    group.bench_function("serialise", |b| {
        b.iter(|| {
            out.clear();
            black_box(&element).write_into(&mut out, &SCOPE);
            out.len()
        });
    });
    group.bench_function("parse and serialise", |b| {
        let mut input = BytesMut::with_capacity(1024);
        b.iter(|| {
            input.extend_from_slice(black_box(MESSAGE).as_bytes());
            out.clear();
            read(&mut reader, &mut input).write_into(&mut out, &SCOPE);
            out.len()
        });
    });
    group.finish();
}

/// An element of about `bytes` bytes that is hard on the reader in one way.
fn hard(kind: &str, bytes: usize) -> String {
    let repeat = |item: &dyn Fn(usize) -> String| {
        let mut all = String::new();
        for n in 0.. {
            if all.len() >= bytes {
                break;
            }
            all += &item(n);
        }
        all
    };
    match kind {
        "text" => format!("<a>{}</a>", "x".repeat(bytes)),
        "references" => format!("<a>{}</a>", repeat(&|_| "&lt;".into())),
        "children" => format!("<a>{}</a>", repeat(&|_| "<b/>".into())),
        "attributes" => format!("<a{}/>", repeat(&|n| format!(" a{n}=''"))),
        "namespaces" => format!("<a{}/>", repeat(&|n| format!(" xmlns:a{n}='u' a{n}:b{n}=''"))),
        "brackets" => format!("<a>{}</a>", repeat(&|_| "]".into())),
        "cdata" => format!("<a>{}</a>", repeat(&|_| "<![CDATA[]]]]>".into())),
        _ => panic!("no such kind: {kind}"),
    }
}

fn growth(c: &mut Criterion) {
    const MANY: usize = usize::MAX;
    let limits = Limits {
        element_bytes_max: MANY,
        attributes_max: MANY,
        children_max: MANY,
        namespaces_max: MANY,
        tokens_max: MANY,
        ..Limits::default()
    };
    let mut group = c.benchmark_group("growth");
    group.sample_size(10);
    for kind in ["text", "references", "children", "attributes", "namespaces", "brackets", "cdata"] {
        for bytes in [10_000, 100_000, 1_000_000] {
            let text = hard(kind, bytes);
            let mut reader = opened(limits.clone());
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_function(format!("{kind}/{bytes}"), |b| {
                b.iter_batched_ref(
                    || BytesMut::from(text.as_str()),
                    |input| read(&mut reader, input),
                    BatchSize::LargeInput,
                );
            });
        }
    }
    let text = hard("references", 100_000);
    group.throughput(Throughput::Bytes(text.len() as u64));
    group.bench_function("a byte at a time/100000", |b| {
        let mut reader = opened(limits.clone());
        b.iter(|| {
            let mut input = BytesMut::new();
            let events = text.bytes().filter(|byte| {
                input.extend_from_slice(&[*byte]);
                matches!(reader.next(&mut input), Ok(Some(_)))
            });
            assert_eq!(events.count(), 1);
        });
    });
    group.finish();
}

criterion_group!(benches, message, growth);
criterion_main!(benches);
