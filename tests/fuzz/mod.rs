//! Fuzzing: what strangers and clients send, changed at random, against rules that hold for every input.
//!
//! A target is a function of bytes that panics where a rule is broken; what each asks for stands in its header. The
//! [`runner`] begins with the corpus in `tests/fuzz/corpus/`, written by hand, and changes it: bytes, words of the
//! protocol, whole elements. An input whose outcome is new joins the pool that is changed further. This is less than the
//! coverage that libFuzzer is guided by, but libFuzzer needs a nightly compiler; bolero's engines that need none draw
//! bytes at random without a corpus to change, and proptest draws values that somebody has to describe, of which
//! `src/xml/properties.rs` and others have plenty. Who has a nightly compiler can plug libFuzzer in: README.md says how.

mod account;
mod archive;
mod jid;
mod mutation;
mod negotiation;
mod peers;
mod runner;
mod sasl;
mod snapshot;
mod xml;

use runner::Fuzz;

const XML: Fuzz =
    Fuzz { name: "xml", target: xml::target, change: mutation::xml, bytes_max: 8 * 1024, cases: 4_000 };
/// From the same corpus: what breaks a rule of one is of interest to the other.
const PEERS: Fuzz =
    Fuzz { name: "xml", target: peers::target, change: mutation::xml, bytes_max: 8 * 1024, cases: 4_000 };
const JID: Fuzz =
    Fuzz { name: "jid", target: jid::target, change: mutation::jid, bytes_max: 4 * 1024, cases: 20_000 };
const SASL: Fuzz =
    Fuzz { name: "sasl", target: sasl::target, change: mutation::sasl, bytes_max: 4 * 1024, cases: 10_000 };
const NEGOTIATION: Fuzz = Fuzz {
    name: "negotiation",
    target: negotiation::target,
    change: mutation::negotiation,
    bytes_max: 8 * 1024,
    cases: 150,
};
const ARCHIVE: Fuzz = Fuzz {
    name: "archive",
    target: archive::target,
    change: mutation::archive,
    bytes_max: 16 * 1024,
    cases: 1_500,
};

const ACCOUNT: Fuzz = Fuzz {
    name: "account",
    target: account::target,
    change: mutation::account,
    bytes_max: 16 * 1024,
    cases: 600,
};
const SNAPSHOT: Fuzz = Fuzz {
    name: "snapshot",
    target: snapshot::target,
    change: mutation::snapshot,
    bytes_max: 8 * 1024,
    cases: 1_000,
};

#[test]
fn xml_is_read_in_one_way_or_not_at_all() {
    XML.run();
}

#[test]
fn other_parsers_see_what_we_see() {
    if peers::are_there() {
        PEERS.run();
    }
}

#[test]
fn an_address_has_one_form() {
    JID.run();
}

#[test]
fn nobody_comes_in_without_the_password() {
    SASL.run();
}

#[test]
fn a_stranger_gets_an_answer_and_nothing_else() {
    NEGOTIATION.run();
}

#[test]
fn an_archive_answers_what_was_asked_or_says_what_is_wrong() {
    ARCHIVE.run();
}

#[test]
fn an_account_keeps_what_was_set_and_nothing_that_was_refused() {
    ACCOUNT.run();
}

#[test]
fn whatever_a_store_gives_back_the_server_runs() {
    SNAPSHOT.run();
}
