#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    super::{
        BindingType, Channel, ChannelBindings,
        hash::work::during,
        test_client::{Client, DOMAIN, END_POINT, EXPORTER, TestJid, TestServer, bindings, challenge},
    },
    *,
};

const PASSWORD: &str = "pencil";

fn server() -> TestServer {
    TestServer::new()
        .with_user("alice", PASSWORD, Standing::Active)
        .with_user("bob", "other", Standing::Active)
        .with_user("a,b=c", PASSWORD, Standing::Active)
        .with_user("carol", PASSWORD, Standing::Disabled)
        .with_user("dave", PASSWORD, Standing::Expired)
}

fn plus(hash: Hash) -> Client {
    Client::new(hash, "alice", PASSWORD).bound(BindingType::TlsExporter, &EXPORTER)
}

fn failure<T: std::fmt::Debug>(result: Result<T, Refusal>) -> SaslFailure {
    result.unwrap_err().failure
}

/// The exchanges of RFC 5802 §5 and RFC 7677 §3; that of SHA-512 was computed with Python's `hashlib`.
#[test]
fn published_exchanges_come_out_octet_for_octet() {
    for (mechanism, keys, nonce, messages) in [
        (
            "SCRAM-SHA-1",
            (4096, "QSXCR+Q6sek8bf92"),
            "3rfcNHYJY1ZVvWVs7j",
            [
                "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
                "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
                "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
            ],
        ),
        (
            "SCRAM-SHA-256",
            (4096, "W22ZaJ0SNY7soEsUEjb6gQ=="),
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            ],
        ),
        (
            "SCRAM-SHA-512",
            (10_000, "W22ZaJ0SNY7soEsUEjb6gQ=="),
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            [
                "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=10000",
                "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                 p=sScffJ11LZ4TfY4PVI/6/9rMIHpix12AijdjQOPWK26er2vRtW/osDSi/hegaCFWfI91sJZd0bevncVEhUg0wQ==",
                "v=RjtcFh+1kT0TmNH2klLiCXHiJLvMLwWuSSjecIns8FBSn0XXRb3iv2qU96STCkYC2Go0feONylPqhw46oweC5A==",
            ],
        ),
    ] {
        let hash = Hash::parse_family(mechanism).unwrap();
        let mut server = TestServer::new();
        server.policy.downgrade_protection = false;
        server.nonce = ServerNonce::of_vector(nonce);
        server.insert("user", vector_keys(hash, keys), Standing::Active);
        assert_exchange(&server, mechanism, &messages);
    }
}

/// XEP-0474 §6.3 and XEP-0515 §4.3, `-PLUS` with an ignored extension and without. Their binding data are
/// no real ones, so it is the client of these tests that is held against them; all other tests hold the
/// server against that client.
#[test]
fn the_client_of_these_tests_computes_the_published_examples() {
    const CHALLENGE: &str = "r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6,\
                             s=QSXCR+Q6sek8bf92,i=4096,h=G6k/rBLDqgOhRRaCuuatSDFkJ08=";
    for (attribute, extension, proof, verifier) in [
        (
            "",
            ",x=19C6532F-1CF4-4A27-A18D-DC9CEA41BBB3",
            "p=M/SIDjT+dfcxUh89jZEypRvFxB4=",
            "v=MQrMPvv7yv4x4Cq4W4Ih25EqS2c=",
        ),
        (",t=0304", "", "p=KHUfN8dSy1K95crT4D5y1ItLJfs=", "v=3w34ZIMVRkx2f2Ozb3/ecRPVdv4="),
    ] {
        let client = Client {
            nonce: "12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6".into(),
            extension: extension.into(),
            ..Client::new(Hash::Sha1, "user", PASSWORD)
                .bound(BindingType::TlsExporter, b"THIS IS FAKE CB DATA")
        };
        assert_eq!(client.first(), "p=tls-exporter,,n=user,r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6");
        let (last, signature) = client.last(&format!("{CHALLENGE}{attribute}"));
        assert_eq!(
            last,
            format!(
                "c=cD10bHMtZXhwb3J0ZXIsLFRISVMgSVMgRkFLRSBDQiBEQVRB,\
                 r=12C4CD5C-E38E-4A98-8F6D-15C38F51CCC6a09117a6-ac50-4f2f-93f1-93799c2bddf6{extension},{proof}"
            )
        );
        assert_eq!(signature, verifier);
    }
}

fn vector_keys(hash: Hash, (iterations, salt): (u32, &str)) -> ScramKeys {
    let password = Password::prepare(PASSWORD).unwrap();
    ScramKeys::derive(&password, &STANDARD.decode(salt).unwrap(), iterations.try_into().unwrap(), hash)
}

fn assert_exchange(server: &TestServer, mechanism: &str, [first, want, last, verifier]: &[&str; 4]) {
    let mut stream = server.open();
    assert_eq!(challenge(server.begin(&mut stream, mechanism, first).unwrap()), *want);
    match stream.respond(last.as_bytes()).unwrap() {
        Step::Success { peer, data } => {
            assert_eq!(peer.account(), &TestJid(format!("user@{DOMAIN}")));
            assert_eq!(data.as_deref(), Some(verifier.as_bytes()));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_mechanism_lets_the_right_password_in() {
    let server = server();
    for hash in Hash::ALL {
        let client = Client::new(hash, "alice", PASSWORD);
        for client in [
            client.clone(),
            client.clone().bound(BindingType::TlsExporter, &EXPORTER),
            client.clone().bound(BindingType::TlsServerEndPoint, &END_POINT),
            Client { username: "Alice".into(), ..client.clone() },
            Client { username: "a,b=c".into(), ..client.clone() }, // RFC 5802 §5.1: =2C and =3D
            Client { extension: ",x=ignored,y=a=b".into(), ..client.clone() }, // RFC 5802 §5.1
        ] {
            let peer = server.scram(&client).unwrap();
            assert_eq!(peer.account().0, format!("{}@{DOMAIN}", client.username.to_lowercase()));
            assert_eq!(peer.mechanism().as_str(), client.mechanism);
        }
    }
    assert_eq!(server.plain("\0alice\0pencil").unwrap().into_account(), TestJid("alice@example.org".into()));
}

/// THREATS: "Authorisation id".
#[test]
fn nobody_acts_for_another_by_any_mechanism() {
    let server = server();
    for (authzid, allowed) in [
        ("", true),
        ("alice@example.org", true),
        ("ALICE@Example.ORG", true), // another spelling of the same address
        ("alice", false),
        ("example.org", false),
        ("@example.org", false),
        ("alice@", false),
        ("bob@example.org", false),
        ("admin@example.org", false),
        ("nobody@example.org", false),
        ("alice@example.net", false),
        ("alice@example.org.", false),
        ("alice@example.org/phone", false),
        ("alice@example.org@example.org", false),
        ("bob@example.org/alice@example.org", false),
        (" alice@example.org", false),
        ("alice@example.org,bob@example.org", false),
        ("alice=bob@example.org", false),
    ] {
        let plain = server.plain(&format!("{authzid}\0alice\0pencil"));
        let scram = Hash::ALL.into_iter().flat_map(|hash| [Client::new(hash, "alice", PASSWORD), plus(hash)]);
        let scram = scram.map(|client| server.scram(&Client { authzid: authzid.into(), ..client }));
        for result in std::iter::once(plain).chain(scram) {
            match result {
                Ok(peer) => assert!(allowed && peer.account().0 == "alice@example.org", "{authzid}"),
                Err(refusal) => {
                    assert!(!allowed, "{authzid}: {refusal}");
                    assert_eq!(refusal.failure, SaslFailure::InvalidAuthzid, "{authzid}"); // RFC 6120 §6.5.6
                }
            }
        }
    }
}

/// An authorisation identity is judged before the account is looked up, so it tells nothing about it.
#[test]
fn a_wrong_authorisation_identity_fails_alike_for_known_and_unknown_users() {
    let server = server();
    for name in ["alice", "nobody"] {
        let message = format!("n,a=bob@example.org,n={name},r=abc");
        let result = server.begin(&mut server.open(), "SCRAM-SHA-256", &message);
        assert_eq!(failure(result), SaslFailure::InvalidAuthzid);
    }
}

/// THREATS: "User enumeration".
#[test]
fn an_unknown_user_looks_like_a_wrong_password() {
    let server = server();
    for hash in Hash::ALL {
        let [known, unknown] = ["alice", "nobody"].map(|name| {
            let client = Client::new(hash, name, "wrong");
            let [one, two] = [(), ()].map(|()| {
                let mut stream = server.open();
                let message = challenge(server.begin(&mut stream, hash.family(), &client.first()).unwrap());
                let refusal = stream.respond(client.last(&message).0.as_bytes()).unwrap_err();
                assert_eq!(refusal.failure, SaslFailure::NotAuthorized);
                message
            });
            assert_eq!(one, two, "the salt of {name} changed");
            one
        });
        let shape = |message: &str| {
            message.split(',').map(|part| (part[..2].to_owned(), part.len())).collect::<Vec<_>>()
        };
        assert_eq!(shape(&known), shape(&unknown));
        assert_ne!(known, unknown);
    }
    for message in ["\0alice\0wrong", "\0nobody\0pencil"] {
        assert_eq!(failure(server.plain(message)), SaslFailure::NotAuthorized);
    }
    // Spellings of one unknown user are one user, as they are of a known one.
    let salt = |name: &str| {
        let message = format!("n,,n={name},r=abc");
        challenge(server.begin(&mut server.open(), "SCRAM-SHA-256", &message).unwrap())
    };
    assert_eq!(salt("nobody"), salt("NOBODY"));
    assert_ne!(salt("nobody"), salt("nobody2"));
}

/// THREATS: "User enumeration". What is computed is the same, so that the time is; `benches/sasl.rs` shows it.
#[test]
fn an_unknown_user_costs_what_a_wrong_password_costs() {
    let no_sha256 = {
        let mut server = TestServer::new();
        server.insert("carol", vector_keys(Hash::Sha1, (4096, "QSXCR+Q6sek8bf92")), Standing::Active);
        server
    };
    let known = TestServer::new().with_user("alice", "pencil", Standing::Active).with_user(
        "dave",
        "pencil",
        Standing::Disabled,
    );
    for hash in Hash::ALL {
        let scram = |server: &TestServer, name: &str| {
            let client = Client::new(hash, name, "wrong");
            let mut stream = server.open();
            let (message, first) =
                during(|| challenge(server.begin(&mut stream, hash.family(), &client.first()).unwrap()));
            let last = client.last(&message).0;
            let (result, second) = during(|| stream.respond(last.as_bytes()));
            assert_eq!(failure(result), SaslFailure::NotAuthorized, "{name}");
            (first, second)
        };
        let want = scram(&known, "alice");
        assert!(want.1.keys > 0 && want.1.digests > 0 && want.1.rounds == 0, "{want:?}");
        assert_eq!(scram(&known, "nobody"), want, "{hash:?}");
        assert_eq!(scram(&known, "dave"), want, "{hash:?}");
    }
    let plain = |server: &TestServer, name: &str| {
        let (result, done) = during(|| server.plain(&format!("\0{name}\0wrong")));
        assert_eq!(failure(result), SaslFailure::NotAuthorized, "{name}");
        done
    };
    let want = plain(&known, "alice");
    assert_eq!(want.rounds, 7);
    assert_eq!(plain(&known, "nobody"), want);
    assert_eq!(plain(&known, "dave"), want);
    assert_eq!(plain(&no_sha256, "carol"), want); // an account without a credential for PLAIN
}

/// Nobody's keys are known to someone who knows the secret; even then there is no way in.
#[test]
fn a_correct_proof_for_nobody_is_refused() {
    let server = server();
    let mut stream = server.open();
    let step = stream.begin("SCRAM-SHA-256", Some(b"n,,n=nobody,r=abc"), server.nonce.clone());
    assert!(matches!(step, Ok(Step::NeedCredentials { .. })));
    // The credential is of another hash than the one that was asked for: as good as none.
    let keys = vector_keys(Hash::Sha1, (7, "QSXCR+Q6sek8bf92"));
    let message = challenge(
        stream.provide(Some(Credentials { keys, standing: Standing::Active, passwords: 0 })).unwrap(),
    );
    assert!(!message.contains("QSXCR+Q6sek8bf92"));
    let client = Client { nonce: "abc".into(), ..Client::new(Hash::Sha256, "nobody", PASSWORD) };
    assert_eq!(failure(stream.respond(client.last(&message).0.as_bytes())), SaslFailure::NotAuthorized);
}

#[test]
fn a_first_message_that_does_not_fit_the_offer_is_refused() {
    let end_point_only = Channel::Tls(ChannelBindings { exporter: None, ..bindings() });
    let full = Channel::Tls(bindings());
    for (channel, mechanism, flag, want) in [
        // RFC 5802 §6: y although -PLUS was offered, the trace of a downgrade
        (&full, "SCRAM-SHA-1", "y", SaslFailure::NotAuthorized),
        (&full, "SCRAM-SHA-256", "y", SaslFailure::NotAuthorized),
        (&end_point_only, "SCRAM-SHA-512", "y", SaslFailure::NotAuthorized),
        // RFC 5802 §6: a type that the server does not have
        (&full, "SCRAM-SHA-256-PLUS", "p=tls-unique", SaslFailure::NotAuthorized),
        (&full, "SCRAM-SHA-256-PLUS", "p=TLS-EXPORTER", SaslFailure::NotAuthorized),
        (&end_point_only, "SCRAM-SHA-256-PLUS", "p=tls-exporter", SaslFailure::NotAuthorized),
        // RFC 5802 §6: flag and mechanism contradict one another
        (&full, "SCRAM-SHA-256-PLUS", "n", SaslFailure::MalformedRequest),
        (&full, "SCRAM-SHA-256-PLUS", "y", SaslFailure::MalformedRequest),
        (&full, "SCRAM-SHA-256", "p=tls-exporter", SaslFailure::MalformedRequest),
        (&Channel::Clear, "SCRAM-SHA-256", "p=tls-exporter", SaslFailure::MalformedRequest),
        // What was not offered at all
        (&Channel::Clear, "SCRAM-SHA-256-PLUS", "p=tls-exporter", SaslFailure::InvalidMechanism),
        (&Channel::Clear, "PLAIN", "n", SaslFailure::EncryptionRequired),
        (&full, "EXTERNAL", "n", SaslFailure::InvalidMechanism),
    ] {
        let server = server().over(channel.clone());
        let result = server.begin(&mut server.open(), mechanism, &format!("{flag},,n=alice,r=abc"));
        assert_eq!(failure(result), want, "{mechanism} {flag} {channel:?}");
    }
    // RFC 5802 §6: y is right where nothing was offered.
    let server = server().over(Channel::Clear);
    let client = Client { flag: "y".into(), ..Client::new(Hash::Sha256, "alice", PASSWORD) };
    server.scram(&client).unwrap();
}

#[test]
fn a_user_name_that_is_no_localpart_is_refused() {
    let server = server();
    for name in ["alice@example.org", "alice/phone", "al ice", "@", "\u{e9}"] {
        let result = server.begin(&mut server.open(), "SCRAM-SHA-256", &format!("n,,n={name},r=abc"));
        assert_eq!(failure(result), SaslFailure::NotAuthorized, "{name}");
        assert_eq!(failure(server.plain(&format!("\0{name}\0pencil"))), SaslFailure::NotAuthorized, "{name}");
    }
}

/// Somebody in between relays all messages: his TLS connections are not those of the client.
#[test]
fn binding_data_of_another_connection_are_refused() {
    let server = server();
    for hash in Hash::ALL {
        for (binding, data) in [
            (BindingType::TlsExporter, &[0xEF; 32][..]),
            (BindingType::TlsExporter, &END_POINT),
            (BindingType::TlsExporter, &EXPORTER[..31]),
            (BindingType::TlsExporter, &[]),
            (BindingType::TlsServerEndPoint, &EXPORTER),
            (BindingType::TlsServerEndPoint, &[]),
        ] {
            let client = Client::new(hash, "alice", PASSWORD).bound(binding, data);
            assert_eq!(failure(server.scram(&client)), SaslFailure::NotAuthorized);
        }
        let client = Client { binding: vec![1], ..Client::new(hash, "alice", PASSWORD) };
        assert_eq!(failure(server.scram(&client)), SaslFailure::NotAuthorized); // §7: absent for n
    }
}

#[test]
fn a_final_message_that_was_tampered_with_is_refused() {
    type Change<'a> = &'a dyn Fn(&str) -> String;
    let server = server();
    let client = plus(Hash::Sha256);
    let tampered = |change: Change<'_>| {
        let mut stream = server.open();
        let message = challenge(server.begin(&mut stream, &client.mechanism, &client.first()).unwrap());
        let result = stream.respond(change(&client.last(&message).0).as_bytes());
        result.map(|_| ()).map_err(|refusal| refusal.failure)
    };
    assert_eq!(tampered(&str::to_owned), Ok(()));
    let nonce = "fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    let wrong: [(Change<'_>, SaslFailure); 10] = [
        (&|last| last.replace(nonce, "fyko+d2lbbFgONRv9qkxdawL"), SaslFailure::NotAuthorized), // §5.1, r
        (&|last| last.replace(nonce, &format!("{nonce}x")), SaslFailure::NotAuthorized),
        (&|last| last.replace(nonce, "3rfcNHYJY1ZVvWVs7j"), SaslFailure::NotAuthorized),
        (&|last| last.replace("c=", "c=biws"), SaslFailure::NotAuthorized), // §6: c= is always checked
        (&|last| last.replace(",r=", ",x=1,r="), SaslFailure::MalformedRequest),
        (&|last| last.replace(",p=", ",x=1,p="), SaslFailure::NotAuthorized), // not what was signed
        (&|last| last.replace(",p=", ",m=1,p="), SaslFailure::MalformedRequest),
        (&|last| format!("{}AAAA", last.trim_end_matches('=')), SaslFailure::MalformedRequest),
        (&|last| last.split(",p=").next().unwrap().to_owned() + ",p=", SaslFailure::MalformedRequest),
        (&|_| String::new(), SaslFailure::MalformedRequest),
    ];
    for (change, want) in wrong {
        assert_eq!(tampered(change), Err(want), "{}", change("c=…,r=…,p=…"));
    }
}

#[test]
fn every_flipped_bit_of_a_proof_is_refused() {
    let server = server();
    let client = Client::new(Hash::Sha1, "alice", PASSWORD);
    for bit in 0..160 {
        let mut stream = server.open();
        let message = challenge(server.begin(&mut stream, "SCRAM-SHA-1", &client.first()).unwrap());
        let (last, _) = client.last(&message);
        let (head, proof) = last.split_once(",p=").unwrap();
        let mut proof = STANDARD.decode(proof).unwrap();
        proof[bit / 8] ^= 1 << (bit % 8);
        let last = format!("{head},p={}", STANDARD.encode(proof));
        assert_eq!(failure(stream.respond(last.as_bytes())), SaslFailure::NotAuthorized, "bit {bit}");
    }
}

/// A recorded login does not work again: the server's part of the nonce differs.
#[test]
fn a_recorded_exchange_cannot_be_replayed() {
    let mut server = server();
    let client = Client::new(Hash::Sha256, "alice", PASSWORD);
    let mut stream = server.open();
    let message = challenge(server.begin(&mut stream, "SCRAM-SHA-256", &client.first()).unwrap());
    let (last, _) = client.last(&message);
    assert!(stream.respond(last.as_bytes()).is_ok());
    server.nonce = ServerNonce::from_random(&[3; 18]);
    let mut stream = server.open();
    challenge(server.begin(&mut stream, "SCRAM-SHA-256", &client.first()).unwrap());
    assert_eq!(failure(stream.respond(last.as_bytes())), SaslFailure::NotAuthorized);
}

#[test]
fn standing_is_told_only_to_those_who_know_the_password() {
    let server = server();
    for (name, want) in [("carol", SaslFailure::AccountDisabled), ("dave", SaslFailure::CredentialsExpired)] {
        for hash in Hash::ALL {
            assert_eq!(failure(server.scram(&Client::new(hash, name, PASSWORD))), want);
            let wrong = server.scram(&Client::new(hash, name, "wrong"));
            assert_eq!(failure(wrong), SaslFailure::NotAuthorized);
        }
        assert_eq!(failure(server.plain(&format!("\0{name}\0pencil"))), want);
        assert_eq!(failure(server.plain(&format!("\0{name}\0wrong"))), SaslFailure::NotAuthorized);
    }
}

#[test]
fn wrong_passwords_are_refused_by_every_mechanism() {
    let server = server();
    for wrong in ["Pencil", "pencil ", "penci", "other", "\u{ff50}encil"] {
        for hash in Hash::ALL {
            for client in [Client::new(hash, "alice", wrong), plus(hash)] {
                let client = Client { password: wrong.into(), ..client };
                assert_eq!(failure(server.scram(&client)), SaslFailure::NotAuthorized, "{wrong}");
            }
        }
        assert_eq!(
            failure(server.plain(&format!("\0alice\0{wrong}"))),
            SaslFailure::NotAuthorized,
            "{wrong}"
        );
    }
    // A password that cannot be one, RFC 8265 §4.2.
    for wrong in ["pen\ncil", "pencil\u{7f}"] {
        assert_eq!(failure(server.plain(&format!("\0alice\0{wrong}"))), SaslFailure::NotAuthorized);
    }
}

/// RFC 6120 §6.4.2: the first message can come with the choice of the mechanism, or one step later.
#[test]
fn without_an_initial_response_an_empty_challenge_asks_for_it() {
    let server = server();
    let mut stream = server.open();
    let step = stream.begin("PLAIN", None, server.nonce.clone()).unwrap();
    assert_eq!(challenge(step), "");
    let step = stream.respond(b"\0alice\0pencil");
    assert!(matches!(server.settle(&mut stream, step), Ok(Step::Success { data: None, .. })));

    let client = Client::new(Hash::Sha256, "alice", PASSWORD);
    let mut stream = server.open();
    assert_eq!(challenge(stream.begin("SCRAM-SHA-256", None, server.nonce.clone()).unwrap()), "");
    let step = stream.respond(client.first().as_bytes());
    let message = challenge(server.settle(&mut stream, step).unwrap());
    assert!(matches!(stream.respond(client.last(&message).0.as_bytes()), Ok(Step::Success { .. })));
}

#[test]
fn steps_out_of_order_are_refused() {
    let server = server();
    let mut stream = server.open();
    assert_eq!(failure(stream.respond(b"n,,n=alice,r=abc")), SaslFailure::MalformedRequest);
    assert_eq!(failure(stream.provide(None)), SaslFailure::MalformedRequest);
    assert_eq!(stream.abort().failure, SaslFailure::Aborted);

    // A response while credentials are being read ends the exchange; they come too late.
    let message = Some(&b"\0alice\0pencil"[..]);
    assert!(matches!(stream.begin("PLAIN", message, server.nonce.clone()), Ok(Step::NeedCredentials { .. })));
    assert_eq!(failure(stream.respond(b"")), SaslFailure::MalformedRequest);
    assert_eq!(failure(stream.provide(None)), SaslFailure::MalformedRequest);

    // A failure ends an exchange; the same proof again finds none.
    let client = Client::new(Hash::Sha256, "alice", "wrong");
    let message = challenge(server.begin(&mut stream, "SCRAM-SHA-256", &client.first()).unwrap());
    let (last, _) = client.last(&message);
    assert_eq!(failure(stream.respond(last.as_bytes())), SaslFailure::NotAuthorized);
    assert_eq!(failure(stream.respond(last.as_bytes())), SaslFailure::MalformedRequest);

    // Success ends one as well.
    let client = Client::new(Hash::Sha256, "alice", PASSWORD);
    let message = challenge(server.begin(&mut stream, "SCRAM-SHA-256", &client.first()).unwrap());
    let (last, _) = client.last(&message);
    assert!(stream.respond(last.as_bytes()).is_ok());
    assert_eq!(failure(stream.respond(last.as_bytes())), SaslFailure::MalformedRequest);
}

/// RFC 6120 §6.4.2: a second `<auth/>` discards the exchange under way, RFC 6120 §6.4.4: `<abort/>` too.
#[test]
fn beginning_anew_discards_what_was_under_way() {
    let server = server();
    let client = Client::new(Hash::Sha256, "alice", PASSWORD);
    let mut stream = server.open();
    let message = challenge(server.begin(&mut stream, "SCRAM-SHA-256", &client.first()).unwrap());
    let (old, _) = client.last(&message);
    challenge(server.begin(&mut stream, "SCRAM-SHA-1", "n,,n=alice,r=other").unwrap());
    assert_eq!(failure(stream.respond(old.as_bytes())), SaslFailure::NotAuthorized);

    challenge(server.begin(&mut stream, "SCRAM-SHA-256", &client.first()).unwrap());
    assert_eq!(stream.abort().failure, SaslFailure::Aborted);
    assert_eq!(failure(stream.respond(old.as_bytes())), SaslFailure::MalformedRequest);

    challenge(server.begin(&mut stream, "SCRAM-SHA-256", &client.first()).unwrap());
    assert_eq!(failure(stream.begin("NONE", None, server.nonce.clone())), SaslFailure::InvalidMechanism);
    assert_eq!(failure(stream.respond(old.as_bytes())), SaslFailure::MalformedRequest);
}

#[test]
fn only_plain_costs_rounds() {
    let server = server();
    for (mechanism, message, want) in [
        ("PLAIN", "\0alice\0pencil", Cost::Hashing),
        ("SCRAM-SHA-256", "n,,n=alice,r=abc", Cost::Cheap),
        ("SCRAM-SHA-512-PLUS", "p=tls-exporter,,n=alice,r=abc", Cost::Cheap),
    ] {
        match server.open().begin(mechanism, Some(message.as_bytes()), server.nonce.clone()).unwrap() {
            Step::NeedCredentials { account, cost, .. } => {
                assert_eq!((account.0.as_str(), cost), ("alice@example.org", want));
            }
            other => panic!("{other:?}"),
        }
    }
}
