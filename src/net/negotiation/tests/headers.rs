//! What a header may say, and what its answer says (RFC 6120 §4.7).

use super::*;

/// THREATS, "Stream reset": what was agreed before a restart holds after it.
#[test]
fn a_restart_changes_nothing_that_was_agreed() {
    use StreamCondition::*;
    for (state, talk, attributes, want) in [
        ("after TLS", starttls_done as fn() -> Talk, "to='example.net' version='1.0'", NotAuthorized),
        ("after SASL", authenticated, "to='example.net' version='1.0'", NotAuthorized),
        ("after SASL", authenticated, "to='example.com' version='1.0'", HostUnknown),
        ("after SASL", authenticated, "to='' version='1.0'", HostUnknown),
        ("after SASL", authenticated, "to='example.org'", UnsupportedVersion),
        ("after SASL", authenticated, "to='example.org' version='1.0' from='bob@example.org'", InvalidFrom),
        ("after SASL", authenticated, "to='example.org' version='1.0' from='alice@example.net'", InvalidFrom),
        ("after SASL", authenticated, "to='example.org' version='1.0' from='example.org'", InvalidFrom),
    ] {
        assert_eq!(talk().ends(&header(attributes)).0, want, "{state}: {attributes}");
    }
    let namespaces = header(ORDINARY).replace("jabber:client", "jabber:server");
    assert_eq!(authenticated().ends(&namespaces).0, InvalidNamespace);

    // The account's own address may be added, and its case does not matter.
    let mut talk = authenticated();
    talk.send(&header("to='example.org' version='1.0' from='ALICE@example.org'")).unwrap();
    assert!(talk.said().contains(" to='alice@example.org' "));

    // The host need not be said again, and is the same (§4.7.2).
    for (talk, features) in [(starttls_done as fn() -> Talk, "<mechanisms "), (authenticated, "<bind ")] {
        let mut talk = talk();
        talk.send(&header("version='1.0'")).unwrap();
        let said = talk.said();
        assert!(said.contains(" from='example.org' ") && said.contains(features), "{said}");
    }
}

/// §6.4.6: an address that was named inside of TLS is what must be proven. One in the clear says nothing.
#[test]
fn who_says_to_be_somebody_has_to_be_it() {
    let from = |name: &str| header(&format!("{ORDINARY} from='{name}@example.org'"));
    for (name, condition) in [("bob", Some(StreamCondition::InvalidFrom)), ("ALICE", None)] {
        let mut talk = secured();
        talk.send(&from(name)).unwrap();
        talk.said();
        talk.send(&plain("\0alice\0secret")).unwrap();
        let told = talk.tell(Input::Credentials(Ok(Some(credentials()))));
        assert_eq!(told.as_ref().err().map(StreamError::condition), condition, "{name}");
        assert_eq!(talk.negotiation.is_authenticated(), condition.is_none(), "{name}");
        assert_eq!(talk.said().contains("<success "), condition.is_none(), "{name}");
    }
    let mut talk = opening();
    talk.send(&from("bob")).unwrap();
    talk.send(STARTTLS).unwrap();
    talk.tell(Input::Secured(bindings())).unwrap();
    talk.send(&header(ORDINARY)).unwrap();
    talk.send(&plain("\0alice\0secret")).unwrap();
    talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    assert!(talk.negotiation.is_authenticated());
}

/// §4.7.2: the answer is to who is named in the header that it answers, and to nobody else.
#[test]
fn an_answer_names_who_asked() {
    let alice = " to='alice@example.org' ";
    let from = "from='Alice@example.org/phone'";
    for (talk, attributes, answer) in [
        (opening as fn() -> Talk, format!("{ORDINARY} {from}"), true),
        (secured, format!("{ORDINARY} {from}"), true),
        (authenticated, format!("{ORDINARY} {from}"), true),
        (authenticated, ORDINARY.to_owned(), false),
    ] {
        let mut talk = talk();
        talk.send(&header(&attributes)).unwrap();
        let said = talk.said();
        assert_eq!(said.contains(alice), answer, "{attributes}: {said}");
    }
    // What was said before the restart is not said again.
    let mut talk = secured();
    talk.send(&header(&format!("{ORDINARY} {from}"))).unwrap();
    talk.send(&plain("\0alice\0secret")).unwrap();
    talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    talk.said();
    talk.send(&header(ORDINARY)).unwrap();
    assert!(!talk.said().contains(" to="));

    // Nor do errors forget whom they are for.
    for (talk, attributes, want) in [
        (opening as fn() -> Talk, "to='example.com' version='1.0'", StreamCondition::HostUnknown), // §4.9.1.3
        (opening, "version='1.0'", StreamCondition::HostUnknown),
        (opening, "to='example.org'", StreamCondition::UnsupportedVersion),
        (authenticated, "to='example.net' version='1.0'", StreamCondition::NotAuthorized),
    ] {
        let (condition, last_words) = talk().ends(&header(&format!("{attributes} {from}")));
        assert_eq!(condition, want, "{attributes}");
        assert!(last_words.contains(alice), "{attributes}: {last_words}");
    }
    let wrong = header(&format!("{ORDINARY} {from}")).replace("http://etherx.jabber.org/streams", "urn:x");
    let (condition, last_words) = opening().ends(&wrong);
    assert_eq!(condition, StreamCondition::InvalidNamespace); // §4.9.1.2
    assert!(last_words.contains(alice), "{last_words}");
    let (_, last_words) = opening().ends(&header(&format!("{ORDINARY} from='@'")));
    assert!(!last_words.contains(" to="), "{last_words}");
}
