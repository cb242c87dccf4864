#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;

use super::{super::self_signed, *};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate that is valid from a day before `start` on.
fn write(folder: &Path, stem: &str, names: &[&str], start: SystemTime) -> CertFiles {
    let names: Vec<_> = names.iter().map(ToString::to_string).collect();
    let made = self_signed(&names, start).unwrap();
    let files = CertFiles {
        domains: names,
        chain: folder.join(format!("{stem}.crt")),
        key: folder.join(format!("{stem}.key")),
    };
    fs::write(&files.chain, made.certificate_pem).unwrap();
    fs::write(&files.key, made.key_pem).unwrap();
    files
}

fn end_point(store: &CertStore, name: &str) -> Vec<u8> {
    store.select(Some(name), None).end_point().to_vec()
}

/// A store with `a.example` and `b.example`.
fn two(now: SystemTime) -> (TempDir, CertStore) {
    let folder = TempDir::new().unwrap();
    let sources = ["a.example", "b.example"].map(|name| write(folder.path(), name, &[name], now));
    let store = CertStore::load(sources.into(), now).unwrap();
    (folder, store)
}

#[test]
fn names_choose_the_identity() {
    let now = SystemTime::now();
    let folder = TempDir::new().unwrap();
    let mut sources = vec![
        write(folder.path(), "first", &["first.example"], now),
        write(folder.path(), "wild", &["wild.example", "*.wild.example"], now),
        write(folder.path(), "intl", &["m\u{fc}ller.example"], now),
        write(folder.path(), "late", &["first.example", "late.example"], now),
    ];
    // Claimed by the configuration although its certificate has another name.
    sources[2].domains.push("x.wild.example".into());
    let store = CertStore::load(sources, now).unwrap();
    let all = store.identities();
    for (server_name, domain, want) in [
        (Some("first.example"), None, 0), // the earlier one
        (Some("FIRST.example"), None, 0),
        (Some("wild.example"), None, 1),
        (Some("y.wild.example"), None, 1),
        (Some("x.wild.example"), None, 2), // the configuration beats the wildcard
        (Some("xn--mller-kva.example"), None, 2),
        (None, Some("m\u{fc}ller.example"), 2),
        (Some("late.example"), Some("first.example"), 3), // SNI beats the stream's `to`
        (Some("host.elsewhere"), Some("late.example"), 3), // unless it is no name of ours
        (Some("y.y.wild.example"), None, 0),
        (Some("elsewhere"), Some(""), 0),
        (None, None, 0),
    ] {
        let found = store.select(server_name, domain);
        assert!(Arc::ptr_eq(&found, &all[want]), "{server_name:?} {domain:?}: {found:?}");
    }
}

#[test]
fn without_files_there_is_no_store() {
    let now = SystemTime::now();
    assert!(matches!(CertStore::load(vec![], now), Err(CertError::None)));
    let folder = TempDir::new().unwrap();
    let mut files = write(folder.path(), "a", &["a.example"], now);
    files.key = folder.path().join("missing.key");
    let error = CertStore::load(vec![files.clone()], now).unwrap_err().to_string();
    assert!(error.starts_with("cannot read ") && error.contains("missing.key"), "{error}");
    files.key = files.chain.clone();
    let error = CertStore::load(vec![files], now).unwrap_err().to_string();
    assert!(error.ends_with("there is no private key in PEM form"), "{error}");
}

#[test]
fn a_changed_pair_replaces_the_old_one_alone() {
    let now = SystemTime::now();
    let (folder, store) = two(now);
    let (a, b) = (end_point(&store, "a.example"), end_point(&store, "b.example"));
    assert_eq!(store.reload_if_changed(now), Reload::default());

    let held = store.select(Some("b.example"), None);
    write(folder.path(), "b.example", &["b.example", "c.example"], now);
    assert_eq!(store.reload_if_changed(now), Reload { replaced: 1, refused: 0 });
    assert_eq!(end_point(&store, "a.example"), a);
    assert_ne!(end_point(&store, "b.example"), b);
    assert_eq!(end_point(&store, "c.example"), end_point(&store, "b.example")); // a new name
    assert_eq!(held.end_point().to_vec(), b); // a connection keeps what it had
    assert_eq!(store.reload_if_changed(now), Reload::default());
}

#[test]
fn what_cannot_be_served_does_not_replace_a_valid_certificate() {
    let now = SystemTime::now();
    let (folder, store) = two(now);
    let a = end_point(&store, "a.example");
    let path = |name: &str| folder.path().join(name);
    let refused = Reload { replaced: 0, refused: 1 };
    let good = (fs::read(path("a.example.crt")).unwrap(), fs::read(path("a.example.key")).unwrap());

    let unusable: [(&str, &dyn Fn()); 6] = [
        ("half of a renewal", &|| {
            fs::write(path("a.example.crt"), fs::read(path("b.example.crt")).unwrap()).unwrap();
        }),
        ("the other half", &|| {
            fs::write(path("a.example.crt"), &good.0).unwrap();
            fs::write(path("a.example.key"), fs::read(path("b.example.key")).unwrap()).unwrap();
        }),
        ("a truncated file", &|| fs::write(path("a.example.crt"), &good.0[..100]).unwrap()),
        ("a missing file", &|| fs::remove_file(path("a.example.crt")).unwrap()),
        ("an expired one", &|| {
            write(folder.path(), "a.example", &["a.example"], now - 400 * DAY);
        }),
        ("one of the future", &|| {
            write(folder.path(), "a.example", &["a.example"], now + 2 * DAY);
        }),
    ];
    for (what, change) in unusable {
        change();
        assert_eq!(store.reload_if_changed(now), refused, "{what}");
        assert_eq!(store.reload_if_changed(now), refused, "{what}, again");
        assert_eq!(end_point(&store, "a.example"), a, "{what}");
    }
    // What was too early is served when its day has come, although no file changed.
    assert_eq!(store.reload_if_changed(now + 2 * DAY), Reload { replaced: 1, refused: 0 });
    assert_ne!(end_point(&store, "a.example"), a);
}

#[test]
fn an_expired_certificate_is_served_and_gives_way() {
    let now = SystemTime::now();
    let folder = TempDir::new().unwrap();
    let files = write(folder.path(), "a", &["a.example"], now - 400 * DAY);
    assert!(matches!(files.check_dates(&files.load().unwrap(), now), Err(CertError::Expired { .. })));
    let store = CertStore::load(vec![files.clone()], now).unwrap();
    let old = end_point(&store, "a.example");
    assert!(store.next_expiry().unwrap() < now);

    // Nothing is lost by a later one that has expired as well.
    write(folder.path(), "a", &["a.example"], now - 399 * DAY);
    assert_eq!(store.reload_if_changed(now), Reload { replaced: 1, refused: 0 });
    assert_ne!(end_point(&store, "a.example"), old);

    let files = write(folder.path(), "a", &["a.example"], now);
    assert_eq!(store.reload_if_changed(now), Reload { replaced: 1, refused: 0 });
    assert!(store.next_expiry().unwrap() > now + 390 * DAY);
    assert!(files.check_dates(&store.identities()[0], now).is_ok());
}

#[test]
fn one_identity_serves_all_names() {
    let made = self_signed(&["localhost".into()], SystemTime::now()).unwrap();
    let identity = TlsIdentity::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes()).unwrap();
    let store = CertStore::of_identity(identity);
    assert_eq!(end_point(&store, "localhost"), end_point(&store, "elsewhere"));
    assert_eq!(store.reload_if_changed(SystemTime::now()), Reload::default());
}
