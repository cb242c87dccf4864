//! XEP-0388, and what comes together with it: XEP-0386, and XEP-0198 §9.

use unisono_core::bind2;

use super::*;

const SASL2: &str = "xmlns='urn:xmpp:sasl:2'";
const AGENT: &str =
    "<user-agent id='d4565fa7-4d72-4749-b3d3-740edbf87770'><software>A</software></user-agent>";
const RESUME: &str = "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>";
const BIND2: &str = "<bind xmlns='urn:xmpp:bind:0'><tag>A</tag></bind>";
const IDENTITY: &str = "<authorization-identifier>alice@example.org</authorization-identifier>";

fn authenticate(message: &str, more: &str) -> String {
    let message = STANDARD.encode(message);
    format!(
        "<authenticate {SASL2} mechanism='PLAIN'><initial-response>{message}</initial-response>{more}</authenticate>"
    )
}

/// The owner has proven who she is, and asked for this.
fn proven(more: &str) -> (Talk, Option<Action>) {
    let mut talk = authenticating();
    let asked = talk.send(&authenticate("\0alice\0secret", more)).unwrap();
    assert!(matches!(asked, Some(Action::Ask { .. })), "{asked:?}");
    assert_eq!(talk.said(), "");
    let action = talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    assert!(talk.negotiation.is_authenticated());
    (talk, action)
}

fn phone() -> FullJid {
    "alice@example.org/phone".parse().unwrap()
}

fn answer(name: &str, resumed: bool) -> Answer {
    Answer { write: vec![Element::new(name, "urn:xmpp:sm:3")], resumed: resumed.then(phone), error: None }
}

#[test]
fn who_counts_on_another_offer_learns_it_without_prejudice() {
    let mut talk = secured();
    talk.send(&header(ORDINARY)).unwrap();
    let said = talk.said();
    let version =
        said.split("<config-version xmlns='urn:xmpp:iap:0' scheme='opaque' value='").nth(1).unwrap();
    let version = version.split('\'').next().unwrap().to_owned();
    let counts_on = |value: &str| {
        authenticate(
            "\0alice\0wrong",
            &format!("<config-version xmlns='urn:xmpp:iap:0' scheme='opaque' value='{value}'/>"),
        )
    };
    for failures in [0, 0, 0, 1] {
        assert!(talk.send(&counts_on("other")).unwrap().is_none());
        let mismatch = if failures == 0 { "<config-version-mismatch xmlns='urn:xmpp:iap:0'/>" } else { "" };
        let aborted = "<aborted xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>";
        assert_eq!(talk.said(), format!("<failure {SASL2}>{aborted}{mismatch}</failure>"));
        assert_eq!(talk.negotiation.failures, failures);
    }
    let asked = talk.send(&counts_on(&version)).unwrap();
    assert!(matches!(asked, Some(Action::Ask { .. })), "{asked:?}");
}

#[test]
fn both_profiles_are_offered_inside_of_tls_with_the_same_mechanisms() {
    let mut clear = opening();
    clear.send(&header(ORDINARY)).unwrap();
    assert!(!clear.said().contains("authentication"));
    let mut talk = secured();
    talk.send(&header(ORDINARY)).unwrap();
    let said = talk.said();
    let between = |open: &str, close: &str| {
        let rest = &said[said.find(open).unwrap() + open.len()..];
        rest[..rest.find(close).unwrap()].to_owned()
    };
    let extensible = between("<authentication xmlns='urn:xmpp:sasl:2'>", "<inline>");
    assert_eq!(extensible, between("<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>", "</mechanisms>"));
    assert!(said.contains("</fast><sm xmlns='urn:xmpp:sm:3'/></inline></authentication>"), "{said}");
    assert!(said.contains("<sasl-channel-binding "), "{said}");
    // §2.1: not without a mechanism.
    let mut none = Talk::new();
    let policy = Policy { hashes: vec![], plain: false, ..Policy::default() };
    none.negotiation.terms = Arc::new(Terms { policy, ..Arc::into_inner(terms()).unwrap() });
    none.tell(Input::Secured(bindings())).unwrap();
    none.send(&header(ORDINARY)).unwrap();
    assert!(!none.said().contains("urn:xmpp:sasl:2"));
}

#[test]
fn success_is_followed_by_features_without_a_restart() {
    let (mut talk, action) = proven(AGENT);
    assert!(action.is_none());
    let said = talk.said();
    let want = format!("<success {SASL2}>{IDENTITY}</success><stream:features><bind ");
    assert!(said.starts_with(&want), "{said}");
    // The installation is known from now on.
    let Some(Action::Bind { login, .. }) = talk.send(BIND).unwrap() else { panic!("no wish") };
    assert_eq!(login.agent, UserAgent::parse("d4565fa7-4d72-4749-b3d3-740edbf87770"));
    talk.tell(Input::Bound(Ok(phone()))).unwrap();
    assert!(talk.said().contains("<jid>alice@example.org/phone</jid>"));
}

#[test]
fn data_come_in_elements_of_their_own() {
    // §2.2: no initial response, and then one that comes with white space around it.
    let mut talk = authenticating();
    assert!(talk.send(&format!("<authenticate {SASL2} mechanism='PLAIN'/>")).unwrap().is_none());
    assert_eq!(talk.said(), format!("<challenge {SASL2}/>"));
    let response = format!("<response {SASL2}>\n {}\n</response>", STANDARD.encode("\0alice\0secret"));
    assert!(matches!(talk.send(&response).unwrap(), Some(Action::Ask { .. })));

    let mut talk = authenticating();
    let first = STANDARD.encode("n,,n=alice,r=abc");
    let begin = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-256'><initial-response>";
    talk.send(&format!("{begin}{first}</initial-response></authenticate>")).unwrap();
    talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    assert!(talk.said().starts_with(&format!("<challenge {SASL2}>cj1hYm")));
    talk.send(&format!("<response {SASL2}>{}</response>", STANDARD.encode("c=biws,r=x,p=AAAA"))).unwrap();
    assert!(talk.said().starts_with(&format!("<failure {SASL2}><")));
}

/// What fails is over, in both profiles: what would have been right then is out of order.
#[test]
fn nothing_of_a_failed_exchange_is_taken_up() {
    for (profile, begin) in [
        (SASL, format!("<auth {SASL} mechanism='PLAIN'/>")),
        (SASL2, format!("<authenticate {SASL2} mechanism='PLAIN'/>")),
    ] {
        let mut talk = authenticating();
        talk.send(&begin).unwrap();
        assert_eq!(talk.said(), format!("<challenge {profile}/>"));
        talk.send(&format!("<response {profile}>%%%</response>")).unwrap();
        assert!(talk.said().contains("<incorrect-encoding"), "{profile}");
        let response = format!("<response {profile}>{}</response>", STANDARD.encode("\0alice\0secret"));
        assert!(talk.send(&response).unwrap().is_none(), "{profile}");
        assert!(talk.said().contains("<malformed-request"), "{profile}");
    }
}

#[test]
fn failures_have_the_conditions_of_the_other_profile() {
    // What is short as it comes, and long where each element says all that it is.
    let namespace = "n".repeat(100);
    let unfolding =
        format!("<bind xmlns='urn:xmpp:bind:0' xmlns:a='{namespace}'>{}</bind>", "<a:b/>".repeat(30));
    for (text, want) in [
        (format!("<authenticate {SASL2} mechanism='X-NONE'/>"), "invalid-mechanism"),
        (format!("<authenticate {SASL2}/>"), "invalid-mechanism"),
        (
            format!(
                "<authenticate {SASL2} mechanism='PLAIN'><initial-response>%</initial-response></authenticate>"
            ),
            "incorrect-encoding",
        ),
        (
            format!(
                "<authenticate {SASL2} mechanism='PLAIN'><initial-response>=</initial-response></authenticate>"
            ),
            "incorrect-encoding",
        ),
        (
            format!(
                "<authenticate {SASL2} mechanism='PLAIN'><initial-response><a/></initial-response></authenticate>"
            ),
            "incorrect-encoding",
        ),
        (
            format!("<authenticate {SASL2} mechanism='PLAIN'><initial-response/></authenticate>"),
            "malformed-request",
        ),
        (authenticate("bob@example.org\0alice\0secret", ""), "invalid-authzid"),
        (authenticate("\0alice\0secret", &unfolding), "malformed-request"),
        (format!("<response {SASL2}/>"), "malformed-request"),
        (format!("<abort {SASL2}><text>enough</text></abort>"), "aborted"),
    ] {
        let mut talk = authenticating();
        assert!(talk.send(&text).unwrap().is_none(), "{text}");
        assert_eq!(talk.said(), format!("<failure {SASL2}><{want} {SASL}/></failure>"), "{text}");
        // §2.6: the stream is what it was.
        assert!(talk.send(&authenticate("\0alice\0secret", "")).unwrap().is_some(), "{text}");
    }
    // What was asked for is not done (§2.6.2), and not left for the next attempt either.
    let mut talk = authenticating();
    talk.send(&authenticate("\0alice\0wrong", &format!("{AGENT}{BIND2}"))).unwrap();
    let told = talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    assert!(told.is_none() && !talk.negotiation.is_authenticated());
    assert_eq!(talk.said(), format!("<failure {SASL2}><not-authorized {SASL}/></failure>"));
    talk.send(&authenticate("\0alice\0secret", "")).unwrap();
    assert!(talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap().is_none());
    let Some(Action::Bind { login, .. }) = talk.send(BIND).unwrap() else { panic!("no wish") };
    assert_eq!(login.agent, None);
}

/// An id that others may have, too, is nobody's; its client comes in all the same.
#[test]
fn an_installation_without_a_name_of_its_own_is_let_in() {
    for id in ["x", "", "00000000-0000-0000-0000-000000000000", "d4565fa7-4d72-1749-b3d3-740edbf87770"] {
        let (mut talk, _) = proven(&format!("<user-agent id='{id}'><software>A</software></user-agent>"));
        let Some(Action::Bind { login, .. }) = talk.send(BIND).unwrap() else { panic!("{id}") };
        assert_eq!(login.agent, None, "{id}");
    }
}

#[test]
fn one_account_of_failures_for_all_attempts() {
    let mut talk = authenticating();
    let wrong = format!("<authenticate {SASL2} mechanism='X-NONE'/>");
    (0..3).for_each(|_| assert!(talk.send(&wrong).unwrap().is_none()));
    assert_eq!(talk.send(&wrong).unwrap_err().condition(), StreamCondition::PolicyViolation);
    // And each of them takes its time.
    let mut talk = authenticating();
    talk.negotiation.terms =
        Arc::new(Terms { limits: Limits::default(), ..Arc::into_inner(terms()).unwrap() });
    talk.send(&wrong).unwrap();
    assert_eq!(talk.said(), "");
    talk.now = talk.negotiation.poll_timeout();
    talk.tell(Input::Time).unwrap();
    assert_eq!(talk.said(), format!("<failure {SASL2}><invalid-mechanism {SASL}/></failure>"));
}

#[test]
fn what_comes_out_of_its_order_ends_the_stream() {
    use StreamCondition::*;
    let begin = format!("<authenticate {SASL2} mechanism='SCRAM-SHA-1'/>");
    let begin = begin.as_str();
    let old = format!("<auth {SASL} mechanism='SCRAM-SHA-1'/>");
    let old = old.as_str();
    let wrong = format!("<authenticate {SASL2} mechanism='X-NONE'/>");
    for (before, text, want) in [
        // §2.4: nothing comes in between.
        (begin, begin, PolicyViolation),
        (begin, RESUME, PolicyViolation),
        (begin, "<presence/>", NotAuthorized),
        // A stream has one profile.
        (begin, old, PolicyViolation),
        (begin, &format!("<response {SASL}/>"), PolicyViolation),
        (begin, &format!("<abort {SASL}/>"), PolicyViolation),
        (old, begin, PolicyViolation),
        (old, &format!("<response {SASL2}/>"), PolicyViolation),
        (wrong.as_str(), old, PolicyViolation),
        ("", &format!("<success {SASL2}/>"), UnsupportedStanzaType),
        ("", &format!("<next {SASL2} task='x'/>"), UnsupportedStanzaType),
        ("", &format!("<auth {SASL2} mechanism='PLAIN'/>"), UnsupportedStanzaType),
        ("", &format!("<authenticate {SASL} mechanism='PLAIN'/>"), UnsupportedStanzaType),
    ] {
        let mut talk = authenticating();
        talk.send(before).unwrap();
        assert_eq!(talk.ends(text).0, want, "{before} {text}");
    }
    // §3: inside of TLS only.
    let mut clear = securing();
    let error = clear.send(begin).unwrap_err();
    assert_eq!(error.condition(), PolicyViolation);
    let last_words = String::from_utf8(clear.negotiation.last_words(&error)).unwrap();
    assert!(last_words.contains(&format!("<failure {SASL2}><encryption-required {SASL}/></failure>")));
    // §4.8: and once.
    let (mut talk, _) = proven("");
    talk.said();
    assert_eq!(talk.ends(begin).0, UnsupportedStanzaType);
}

/// §2.3: an address in the header has to be the one that is proven.
#[test]
fn the_header_does_not_name_somebody_else() {
    let mut talk = secured();
    talk.send(&header("to='example.org' version='1.0' from='bob@example.org'")).unwrap();
    talk.said();
    talk.send(&authenticate("\0alice\0secret", BIND2)).unwrap();
    let error = talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap_err();
    assert_eq!(error.condition(), StreamCondition::InvalidFrom);
    assert!(!talk.negotiation.is_authenticated() && talk.negotiation.has_proven());
    let last_words = String::from_utf8(talk.negotiation.last_words(&error)).unwrap();
    assert!(last_words.starts_with(&format!("<failure {SASL2}><invalid-authzid ")), "{last_words}");
    // §2.1
    for from in ["alice@example.net", "example.com"] {
        let header = header(&format!("to='example.org' version='1.0' from='{from}'"));
        assert_eq!(secured().ends(&header).0, StreamCondition::InvalidFrom);
    }
}

#[test]
fn a_resource_is_bound_together_with_the_login() {
    let (mut talk, action) = proven(&format!("{AGENT}{BIND2}"));
    let Some(Action::BindInline { peer, login, request }) = action else { panic!("{action:?}") };
    assert!(login.agent.is_some());
    assert_eq!((peer.account().as_str(), request.name()), ("alice@example.org", "bind"));
    assert!(!talk.negotiation.wants_input());
    assert_eq!(talk.said(), "");
    let bound = Element::new("bound", bind2::NS);
    let done = talk.tell(Input::BoundInline(Ok((phone(), bound)))).unwrap();
    assert!(matches!(done, Some(Action::Proceed)), "{done:?}");
    let said = talk.said();
    let full = "<authorization-identifier>alice@example.org/phone</authorization-identifier>";
    let want = format!("<success {SASL2}>{full}<bound xmlns='urn:xmpp:bind:0'/></success><stream:features>");
    assert!(said.starts_with(&want), "{said}");
    assert!(said.contains("<sm ") && said.contains("<limits ") && !said.contains("xmpp-bind"), "{said}");
}

#[test]
fn a_resource_that_cannot_be_bound_ends_the_stream() {
    for (condition, want) in [
        (Condition::NotAllowed, StreamCondition::NotAuthorized),
        (Condition::ResourceConstraint, StreamCondition::ResourceConstraint),
        (Condition::Conflict, StreamCondition::Reset),
        (Condition::InternalServerError, StreamCondition::InternalServerError),
    ] {
        let (mut talk, _) = proven(BIND2);
        let error = talk.tell(Input::BoundInline(Err(StanzaError::new(condition)))).unwrap_err();
        assert_eq!(error.condition(), want);
        assert_eq!(talk.said(), "");
    }
}

#[test]
fn a_session_is_resumed_together_with_the_login() {
    let (mut talk, action) = proven(&format!("{BIND2}{RESUME}"));
    let Some(Action::Nonza { peer: Some(_), element }) = action else { panic!("{action:?}") };
    assert_eq!(element.name(), "resume");
    let done = talk.tell(Input::Answered(answer("resumed", true))).unwrap();
    assert!(matches!(done, Some(Action::Proceed)), "{done:?}");
    let full = "<authorization-identifier>alice@example.org/phone</authorization-identifier>";
    // XEP-0198 §9.2: no features, and nothing is bound.
    assert_eq!(talk.said(), format!("<success {SASL2}>{full}<resumed xmlns='urn:xmpp:sm:3'/></success>"));
}

#[test]
fn what_cannot_be_resumed_is_bound_or_left_to_the_client() {
    let (mut talk, _) = proven(&format!("{RESUME}{BIND2}"));
    let next = talk.tell(Input::Answered(answer("failed", false))).unwrap();
    assert!(matches!(next, Some(Action::BindInline { .. })), "{next:?}");
    talk.tell(Input::BoundInline(Ok((phone(), Element::new("bound", bind2::NS))))).unwrap();
    let said = talk.said();
    let results =
        "<failed xmlns='urn:xmpp:sm:3'/><bound xmlns='urn:xmpp:bind:0'/></success><stream:features>";
    assert!(said.contains(results), "{said}");

    let (mut talk, _) = proven(RESUME);
    assert!(talk.tell(Input::Answered(answer("failed", false))).unwrap().is_none());
    let said = talk.said();
    let want = format!(
        "<success {SASL2}>{IDENTITY}<failed xmlns='urn:xmpp:sm:3'/></success><stream:features><bind "
    );
    assert!(said.starts_with(&want), "{said}");
    assert!(matches!(talk.send(BIND).unwrap(), Some(Action::Bind { .. })));

    let (mut talk, _) = proven(RESUME);
    let error = Some(StreamError::Extension(StreamCondition::InternalServerError, None));
    let ended = talk.tell(Input::Answered(Answer { error, ..answer("failed", false) })).unwrap_err();
    assert_eq!((ended.condition(), talk.said()), (StreamCondition::InternalServerError, String::new()));
}

/// A client that knows the server from before sends all of it at once.
#[test]
fn all_of_it_may_come_in_one_piece() {
    let mut talk = secured();
    let all = format!("{}{}<presence/>", header(ORDINARY), authenticate("\0alice\0secret", BIND2));
    assert!(matches!(talk.send(&all).unwrap(), Some(Action::Ask { .. })));
    talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    talk.tell(Input::BoundInline(Ok((phone(), Element::new("bound", bind2::NS))))).unwrap();
    assert!(talk.said().contains("</success><stream:features>"));
    assert_eq!(talk.buffer, "<presence/>");
}
