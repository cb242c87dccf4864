//! Parts that were made by hand.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::part::{Part, Parts};
use crate::bench::{Machine, Report, Subject};
use crate::converge;
use crate::run;

fn subject(name: &str, title: &str, version: &str) -> Subject {
    Subject { name: name.to_owned(), title: title.to_owned(), version: version.to_owned() }
}

fn machine() -> Machine {
    Machine { processor: "Fast".to_owned(), cores: 2, memory_mib: 2000, kernel: "6.1".to_owned() }
}

fn part<T>(subject: Subject, options: &str, found: T) -> Part<T> {
    let (date, options) = ("2026-11-22".to_owned(), options.to_owned());
    Part { subject, date, machine: machine(), options, found }
}

pub(super) fn parts() -> Parts {
    let (unisono, prosody) = (subject("unisono", "Unisono", "0.1"), subject("prosody", "Prosody", "0.12.3"));
    let bench = bench();
    let mut idle = bench.clone();
    idle.retain(|row| !row.starts_with("routed"));
    let mut routed = bench;
    routed.retain(|row| row.starts_with("routed"));
    let mut parts = Parts {
        scripts: vec![
            part(unisono.clone(), "", scripts("unisono", ["passed", "passed"])),
            part(prosody.clone(), "", scripts("prosody", ["failed", "not offered"])),
        ],
        converge: vec![
            part(unisono, "--runs 3", runs("unisono", false)),
            part(prosody, "--runs 3 --ops 9", runs("prosody", true)),
        ],
        bench: vec![
            part(subject("routed", "", ""), "--quick", routed),
            part(subject("idle", "", ""), "--quick", idle),
        ],
    };
    for part in &mut parts.scripts {
        "2026-11-20".clone_into(&mut part.date);
    }
    parts
}

fn scripts(target: &str, [roster, ack]: [&str; 2]) -> run::Outcome {
    let count = |folder: &str, result: &str| {
        let is = |word| u8::from(result == word);
        json!({ "folder": folder, "passed": is("passed"), "failed": is("failed"), "not_offered": is("not offered") })
    };
    serde_json::from_value(json!({
        "target": target, "server": target, "seconds": 1.5,
        "folders": [count("rfc6121", roster), count("xep0198", ack)],
        "scripts": [
            { "script": "rfc6121/roster.script", "spec": "RFC 6121 §2", "says": "A roster.", "result": roster,
              "line": 7, "reason": "came\n<iq/>" },
            { "script": "xep0198/ack_count.script", "spec": "XEP-0198 §4", "says": "A count.", "result": ack,
              "line": null, "reason": "urn:xmpp:sm:3 is not announced" },
        ],
    }))
    .unwrap()
}

/// Three runs; where something is broken, the last is not judged.
fn runs(target: &str, is_broken: bool) -> converge::Outcome {
    let violation = |promise: &str, rule: &str| {
        json!({ "promise": promise, "rule": rule, "device": "alice/sm", "messages": ["m1"], "text": "m1 came twice",
                "evidence": ["#7 alice/sm got <message/>"] })
    };
    let (once, odd) = (violation("P3", "doubled-on-device"), violation("protocol", "odd"));
    let violations = if is_broken {
        [json!([odd]), json!([once, odd, once]), json!([])]
    } else {
        [json!([]), json!([]), json!([])]
    };
    let run = |(seed, violations): (usize, &Value)| {
        let error = (is_broken && seed == 2).then_some("no answer");
        json!({
            "seed": seed.saturating_add(1), "seconds": 2.5, "devices": [], "messages": 10, "kills": 1, "stops": 1,
            "losses": 3, "resumed": 4, "sessions": 5, "not_offered": if is_broken { vec!["CSI"] } else { vec![] },
            "error": error, "violations": violations,
        })
    };
    serde_json::from_value(json!({
        "target": target, "server": target, "promises": {},
        "runs": violations.iter().enumerate().map(run).collect::<Vec<_>>(),
    }))
    .unwrap()
}

/// Three servers and the floor, with small numbers.
pub(super) fn bench() -> Report {
    let row = |name: &str, target: &str, figures: Value| json!({ "scenario": "some", "row": name, "target": target, "rounds": [figures], "notes": [] });
    serde_json::from_value(json!({
        "machine": machine(), "date": "2026-11-22", "is_quick": true,
        "load_average": { "begin": "0.1", "end": "0.2" },
        "targets": [
            { "name": "unisono", "title": "Unisono", "version": "0.1" },
            { "name": "prosody", "title": "Prosody", "version": "0.12.3" },
            { "name": "ejabberd", "title": "ejabberd", "version": "" },
            { "name": "floor", "title": "floor", "version": "" },
        ],
        "rows": [
            row("routed", "unisono", json!({ "cpu_us": 10.0, "lost": 0.0 })),
            row("routed", "prosody", json!({ "cpu_us": 210.0, "lost": 2.0 })),
            row("routed", "ejabberd", json!({ "cpu_us": 100.0, "lost": 0.0 })),
            row("routed", "floor", json!({ "cpu_us": 4.0 })),
            row("idle at 50", "unisono", json!({ "kib_per_session": 10.0 })),
            row("idle at 50", "prosody", json!({ "kib_per_session": 40.0 })),
            row("idle at 50", "ejabberd", json!({ "kib_per_session": 0.0 })),
            row("page back in 200", "unisono", json!({ "cpu_us": 5.0 })),
            row("page back in 200", "prosody", json!({ "cpu_us": 100.0 })),
        ],
    }))
    .unwrap()
}
