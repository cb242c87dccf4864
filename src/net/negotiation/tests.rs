#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod early;
mod headers;
mod inline;

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use unisono_core::error::{Condition, StreamCondition};

use super::*;
use crate::sasl::{PASSWORD_BYTES_MAX, Password, ScramKeys, Standing, TlsVersion};

/// Never says the same twice, as randomness should.
struct Counting(AtomicU8);

impl Random for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::Relaxed));
    }
}

fn terms() -> Arc<Terms> {
    Arc::new(Terms {
        domains: vec!["example.org".parse().unwrap(), "example.net".parse().unwrap()],
        limits: Limits { sasl_failure_delay: Duration::ZERO, ..Limits::default() },
        policy: Policy::default(),
        decoys: Arc::new(Decoys::new(&[1; 32], &[])),
        random: Arc::new(Counting(AtomicU8::new(0))),
        features: vec![Element::new("sm", "urn:xmpp:sm:3")],
        inline: vec![Element::new("sm", "urn:xmpp:sm:3")],
        at_login: vec![("urn:xmpp:sm:3", "resume")],
        early_features: vec![Element::new("register", "urn:x")],
        early_iqs: vec![("urn:x", "query")],
    })
}

/// A negotiation, and a client that sends text to it.
struct Talk {
    negotiation: Negotiation,
    now: Instant,
    buffer: BytesMut,
    /// All that was sent to the client since it was last looked at.
    said: String,
}

impl Talk {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            negotiation: Negotiation::new(terms(), now),
            now,
            buffer: BytesMut::new(),
            said: String::new(),
        }
    }

    /// Sends, and returns what is to be done but for sending.
    fn send(&mut self, text: &str) -> Result<Option<Action>, StreamError> {
        self.buffer.extend_from_slice(text.as_bytes());
        let mut buffer = mem::take(&mut self.buffer);
        let result = self.negotiation.handle(self.now, Input::Bytes(&mut buffer));
        self.buffer = buffer;
        result.map(|()| self.action())
    }

    fn tell(&mut self, input: Input<'_>) -> Result<Option<Action>, StreamError> {
        self.negotiation.handle(self.now, input).map(|()| self.action())
    }

    fn action(&mut self) -> Option<Action> {
        while let Some(action) = self.negotiation.poll_action() {
            match action {
                Action::Send(bytes) => self.said.push_str(std::str::from_utf8(&bytes).unwrap()),
                action => return Some(action),
            }
        }
        None
    }

    fn said(&mut self) -> String {
        mem::take(&mut self.said)
    }

    /// The condition by which a text ends the stream, and the last words.
    fn ends(mut self, text: &str) -> (StreamCondition, String) {
        let error = self.send(text).expect_err(text);
        self.action();
        self.said();
        let last_words = String::from_utf8(self.negotiation.last_words(&error)).unwrap();
        assert!(last_words.ends_with("</stream:stream>"), "{text}: {last_words}");
        (error.condition(), last_words)
    }
}

fn header(attributes: &str) -> String {
    format!(
        "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' {attributes}>"
    )
}

const ORDINARY: &str = "to='example.org' version='1.0'";
const SASL: &str = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
const STARTTLS: &str = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>";
const BIND: &str = "<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/></iq>";

fn bindings() -> ChannelBindings {
    ChannelBindings { version: TlsVersion::Tls13, exporter: Some([1; 32]), end_point: Arc::from([2; 32]) }
}

fn opening() -> Talk {
    Talk::new()
}

fn securing() -> Talk {
    let mut talk = opening();
    assert!(talk.send(&header(ORDINARY)).unwrap().is_none());
    talk.said();
    talk
}

/// TLS first, before the header.
fn secured() -> Talk {
    let mut talk = opening();
    talk.tell(Input::Secured(bindings())).unwrap();
    talk
}

fn authenticating() -> Talk {
    let mut talk = secured();
    talk.send(&header(ORDINARY)).unwrap();
    talk.said();
    talk
}

fn plain(message: &str) -> String {
    format!("<auth {SASL} mechanism='PLAIN'>{}</auth>", STANDARD.encode(message))
}

fn credentials() -> Credentials {
    let password = Password::prepare("secret").unwrap();
    let keys = ScramKeys::derive(&password, b"salt", NonZeroU32::new(1).unwrap(), Hash::Sha256);
    Credentials { keys, standing: Standing::Active, passwords: 0 }
}

/// Authenticated, before the header that follows.
fn authenticated() -> Talk {
    let mut talk = authenticating();
    let Some(Action::Ask { account, .. }) = talk.send(&plain("\0alice\0secret")).unwrap() else {
        panic!("no credentials wanted")
    };
    assert_eq!(account.as_str(), "alice@example.org");
    assert!(!talk.negotiation.is_authenticated());
    talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    assert_eq!(talk.said(), format!("<success {SASL}/>"));
    assert!(talk.negotiation.is_authenticated());
    talk
}

/// The bound on what a stranger sends leaves room for the longest localpart (RFC 7622 §3.3) and password.
#[test]
fn the_longest_name_and_password_fit() {
    let (name, password) = ("a".repeat(1023), "b".repeat(PASSWORD_BYTES_MAX));
    let mut talk = authenticating();
    let asked = talk.send(&plain(&format!("\0{name}\0{password}"))).unwrap();
    assert!(matches!(asked, Some(Action::Ask { .. })), "{asked:?}");
}

fn binding() -> Talk {
    let mut talk = authenticated();
    talk.send(&header(ORDINARY)).unwrap();
    talk.said();
    talk
}

#[test]
fn the_whole_way_leads_to_a_bound_stream() {
    let mut talk = opening();
    talk.send(&header("to='example.org' version='1.0' from='alice@example.org' xml:lang='de'")).unwrap();
    let said = talk.said();
    let want = "<?xml version='1.0'?><stream:stream xmlns='jabber:client' \
                xmlns:stream='http://etherx.jabber.org/streams' id='AAAAAAAAAAAAAAAAAAAAAAAA' from='example.org' \
                to='alice@example.org' version='1.0' xml:lang='en'><stream:features>";
    assert!(said.starts_with(want), "{said}");
    assert!(!said.contains("mechanisms"), "{said}");

    let Some(Action::StartTls { domain }) = talk.send(STARTTLS).unwrap() else { panic!("no TLS") };
    assert_eq!(domain.as_str(), "example.org");
    assert_eq!(talk.said(), "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>");
    assert!(!talk.negotiation.wants_input());

    talk.tell(Input::Secured(bindings())).unwrap();
    talk.send(&header(ORDINARY)).unwrap();
    let said = talk.said();
    assert!(said.contains("id='AQEBAQEBAQEBAQEBAQEBAQEB'"), "{said}"); // §4.3.3: a new id
    assert!(!said.contains(" to=") && !said.contains("starttls"), "{said}"); // §4.7.2; §5.4.3.3

    talk.send(&plain("\0alice\0secret")).unwrap();
    talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    talk.said();
    talk.send(&header("to='example.org' version='1.0' xml:lang='de'")).unwrap();
    let said = talk.said();
    assert!(said.contains("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>"), "{said}");
    assert!(said.contains("<sm xmlns='urn:xmpp:sm:3'/>") && !said.contains("mechanisms"), "{said}");

    let Some(Action::Bind { peer, resource: None, .. }) = talk.send(BIND).unwrap() else { panic!("no wish") };
    assert_eq!(peer.account().as_str(), "alice@example.org");
    let jid = "alice@example.org/phone".parse().unwrap();
    assert!(matches!(talk.tell(Input::Bound(Ok(jid))).unwrap(), Some(Action::Proceed)));
    assert_eq!(
        talk.said(),
        "<iq type='result' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <jid>alice@example.org/phone</jid></bind></iq>"
    );
    assert_eq!(talk.negotiation.into_reader().1.as_deref(), Some("de"));
}

#[test]
fn headers_that_are_right_are_taken() {
    for text in [
        header("to='EXAMPLE.org' version='1.0'"),        // RFC 7622 §3.2
        header("to='example.org' version='1.7'"),        // §4.7.5
        header("to='example.org' version='12.0'"),       // we answer 1.0, the client decides
        header("to='example.org' version='01.0'"),       // leading zeros are ignored
        header("to='example.org' version='1.0' id='x'"), // §4.7.3: ignored
        header("to='example.org' version='1.0' from='a@b.example/c'"),
        header("to='example.org' version='1.0' xmlns:db='jabber:server:dialback'"),
        format!("<?xml version='1.0' encoding='UTF-8'?>\n{}", header(ORDINARY)),
        "<stream xmlns='http://etherx.jabber.org/streams' to='example.org' version='1.0'>".into(), // §4.8.2
        "<s:stream xmlns:s='http://etherx.jabber.org/streams' to='example.net' version='1.0'>".into(),
    ] {
        let mut talk = opening();
        assert!(talk.send(&text).is_ok(), "{text}");
        assert!(talk.said().contains("<required/>"), "{text}");
    }
}

#[test]
fn headers_that_are_wrong_end_the_stream() {
    use StreamCondition::*;
    for (text, want) in [
        ("<stream xmlns='urn:wrong' to='example.org' version='1.0'>", InvalidNamespace), // §4.8.1
        ("<stream to='example.org' version='1.0'>", InvalidNamespace),
        ("<stream:stream xmlns='jabber:client' to='example.org'>", NotWellFormed), // §11.3, rule 4
        ("<s xmlns='http://etherx.jabber.org/streams' to='example.org' version='1.0'>", BadFormat),
        (
            &header("to='example.org' version='1.0'").replace("jabber:client", "jabber:server"),
            InvalidNamespace,
        ),
        (&header("to='example.org' version='1.0'").replace("jabber:client", "urn:x"), InvalidNamespace),
        (&header("to='example.org'"), UnsupportedVersion), // §4.7.5: that is 0.9
        (&header("to='example.org' version=''"), UnsupportedVersion),
        (&header("to='example.org' version='0.9'"), UnsupportedVersion),
        (&header("to='example.org' version='1'"), UnsupportedVersion),
        (&header("to='example.org' version='1.0.0'"), UnsupportedVersion),
        (&header("to='example.org' version='-1.0'"), UnsupportedVersion),
        (&header("to='example.org' version='a.b'"), UnsupportedVersion),
        (&header("version='1.0'"), HostUnknown), // §4.7.2: a MUST
        (&header("to='' version='1.0'"), HostUnknown),
        (&header("to='example.com' version='1.0'"), HostUnknown), // §4.9.3.6
        (&header("to='alice@example.org' version='1.0'"), HostUnknown),
        (&header("to='example.org/x' version='1.0'"), HostUnknown),
        (&header("to='@' version='1.0'"), HostUnknown),
        (&header("to='example.org' version='1.0' from='@example.org'"), InvalidFrom), // §4.9.3.9
        (&header("to='example.org' version='1.0' from=''"), InvalidFrom),
        ("<message/>", InvalidNamespace),
        ("<!DOCTYPE x><stream/>", RestrictedXml), // §11.1
        ("<!-- x --><stream/>", RestrictedXml),
        ("<?x y?>", RestrictedXml),
        ("hello", NotWellFormed),
        ("GET / HTTP/1.1\r\n\r\n", NotWellFormed),
        ("\u{0}", UnsupportedEncoding),
        ("<?xml version='1.0' encoding='ISO-8859-1'?>", UnsupportedEncoding), // §11.6
        (&format!("<stream {}", "x".repeat(20_000)), PolicyViolation),        // §4.9.3.14
    ] {
        let (condition, last_words) = opening().ends(text);
        assert_eq!(condition, want, "{text}");
        // §4.9.1.2: the header comes before the error, from a host that we are.
        assert!(last_words.starts_with("<?xml version='1.0'?><stream:stream "), "{last_words}");
        assert!(last_words.contains(" from='example.org' "), "{last_words}");
    }
}

#[test]
fn an_element_out_of_its_order_ends_the_stream() {
    use StreamCondition::*;
    let auth = plain("\0alice\0secret");
    let auth = auth.as_str();
    for (state, talk, text, want) in [
        // Outside of TLS there is TLS and nothing else (§5.3.1).
        ("securing", securing as fn() -> Talk, "<message/>", NotAuthorized), // §4.3.5
        ("securing", securing, BIND, NotAuthorized),
        ("securing", securing, auth, PolicyViolation),
        ("securing", securing, "<abort xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>", PolicyViolation),
        ("securing", securing, "<stream:features/>", UnsupportedStanzaType), // §4.8.4
        ("securing", securing, "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", PolicyViolation),
        // STARTTLS injection (THREATS): nothing may come with it.
        ("securing", securing, &format!("{STARTTLS}{auth}"), PolicyViolation),
        ("securing", securing, &format!("{STARTTLS}<"), PolicyViolation),
        ("securing", securing, &format!("{STARTTLS} "), PolicyViolation),
        // Inside of TLS there is SASL.
        ("authenticating", authenticating, STARTTLS, PolicyViolation), // §5.4.2.2
        ("authenticating", authenticating, "<message/>", NotAuthorized),
        ("authenticating", authenticating, "<presence/>", NotAuthorized),
        ("authenticating", authenticating, BIND, NotAuthorized),
        (
            "authenticating",
            authenticating,
            "<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'/>",
            UnsupportedStanzaType,
        ),
        (
            "authenticating",
            authenticating,
            &format!("{}</stream:stream>", header(ORDINARY)),
            UnsupportedStanzaType,
        ),
        // Authenticated: bind, and nothing before it (§7.1).
        ("binding", binding, "<message to='bob@example.org'/>", NotAuthorized),
        ("binding", binding, "<presence/>", NotAuthorized),
        ("binding", binding, "<iq type='get' id='1'><query xmlns='jabber:iq:roster'/></iq>", NotAuthorized),
        ("binding", binding, &BIND.replace("<iq ", "<iq to='bob@example.org' "), NotAuthorized),
        ("binding", binding, &BIND.replace("<iq ", "<iq to='@' "), NotAuthorized),
        ("binding", binding, &BIND.replace("iq", "message"), NotAuthorized),
        ("binding", binding, auth, UnsupportedStanzaType),
        ("binding", binding, STARTTLS, PolicyViolation),
    ] {
        let (condition, last_words) = talk().ends(text);
        assert_eq!(condition, want, "{state}: {text}");
        let is_tls = text.contains("xmpp-tls");
        assert_eq!(
            last_words.contains("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            is_tls,
            "{text}"
        );
        assert_eq!(last_words.contains("<stream:error>"), !is_tls, "{text}");
    }
}

fn starttls_done() -> Talk {
    let mut talk = securing();
    talk.send(STARTTLS).unwrap();
    talk.tell(Input::Secured(bindings())).unwrap();
    talk
}

#[test]
fn failures_are_told_by_their_condition_and_counted() {
    let mut talk = authenticating();
    for attempt in 1..=3 {
        talk.send(&format!("<auth {SASL} mechanism='X-NONE'/>")).unwrap();
        let want = format!("<failure {SASL}><invalid-mechanism/></failure>");
        assert_eq!(talk.said(), want, "attempt {attempt}");
    }
    let error = talk.send(&format!("<auth {SASL} mechanism='X-NONE'/>")).unwrap_err();
    assert_eq!(error.condition(), StreamCondition::PolicyViolation); // §6.4.5
    let last_words = String::from_utf8(talk.negotiation.last_words(&error)).unwrap();
    assert!(last_words.starts_with(&format!("<failure {SASL}>")), "{last_words}");
}

#[test]
fn the_store_failing_is_not_the_clients_fault() {
    let mut talk = authenticating();
    talk.send(&plain("\0alice\0secret")).unwrap();
    talk.tell(Input::Credentials(Err(Unreadable))).unwrap();
    assert_eq!(talk.said(), format!("<failure {SASL}><temporary-auth-failure/></failure>")); // §6.5.11
    // And the next attempt may succeed.
    talk.send(&plain("\0alice\0secret")).unwrap();
    talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    assert!(talk.negotiation.is_authenticated());
}

#[test]
fn guessing_takes_time() {
    let mut talk = authenticating();
    let slow = Terms { limits: Limits::default(), ..Arc::into_inner(terms()).unwrap() };
    talk.negotiation.terms = Arc::new(slow);
    talk.send(&plain("\0alice\0wrong")).unwrap();
    talk.tell(Input::Credentials(Ok(Some(credentials())))).unwrap();
    assert_eq!(talk.said(), "");
    // Whatever comes meanwhile is not looked at.
    talk.send(&plain("\0alice\0secret")).unwrap();
    assert!(!talk.negotiation.wants_input());
    let due = talk.negotiation.poll_timeout();
    assert_eq!(due - talk.now, Duration::from_secs(1));
    talk.now = due;
    talk.tell(Input::Time).unwrap();
    assert_eq!(talk.said(), format!("<failure {SASL}><not-authorized/></failure>"));
    assert!(matches!(talk.send("").unwrap(), Some(Action::Ask { .. })));
}

#[test]
fn each_part_of_the_way_has_its_deadline() {
    for (talk, seconds) in [
        (opening as fn() -> Talk, 10),
        (securing, 10),
        (starttls_done, 10),
        (authenticating, 10),
        (authenticated, 30),
        (binding, 30),
    ] {
        let mut talk = talk();
        let due = talk.negotiation.poll_timeout();
        assert_eq!(due - talk.now, Duration::from_secs(seconds));
        talk.now = due - Duration::from_millis(1);
        talk.tell(Input::Time).unwrap();
        talk.now = due;
        let error = talk.tell(Input::Time).unwrap_err();
        assert_eq!(error.condition(), StreamCondition::PolicyViolation); // §4.6.4
    }
}

#[test]
fn a_wish_for_a_resource_is_met_or_answered() {
    let wish =
        |resource: &str| BIND.replace("bind'/>", &format!("bind'><resource>{resource}</resource></bind>"));
    for (text, want) in [
        (wish("phone"), Some("phone")),
        (wish(""), None),                                      // §7.6
        (wish(" \u{2603} "), Some(" \u{2603} ")),              // the hub judges it
        (BIND.replace("<iq ", "<iq to='example.org' "), None), // COMPAT: some address the server
        (BIND.replace("<iq ", "<iq to='alice@example.org' "), None),
    ] {
        let Some(Action::Bind { resource, .. }) = binding().send(&text).unwrap() else { panic!("{text}") };
        assert_eq!(resource.as_deref(), want, "{text}");
    }

    let mut talk = binding();
    for text in
        [BIND.replace("'set'", "'get'"), BIND.replace(" id='b'", ""), BIND.replace("'set'", "'result'")]
    {
        assert!(talk.send(&text).unwrap().is_none(), "{text}");
        assert!(talk.said().contains("<bad-request "), "{text}");
    }
    talk.send(BIND).unwrap();
    talk.tell(Input::Bound(Err(StanzaError::new(Condition::ResourceConstraint)))).unwrap();
    assert!(talk.said().contains("<iq type='error' id='b'><error type='wait'><resource-constraint ")); // §7.6.2.1
    talk.send(BIND).unwrap();
    let last = talk.tell(Input::Bound(Err(StanzaError::new(Condition::BadRequest)))).unwrap_err();
    assert_eq!(last.condition(), StreamCondition::PolicyViolation); // §7.7.3
}

#[test]
fn extensions_answer_before_a_resource_is_bound() {
    let resume = "<resume xmlns='urn:xmpp:sm:3' previd='x' h='0'/>";
    let mut talk = binding();
    let Some(Action::Nonza { element, .. }) = talk.send(resume).unwrap() else { panic!("not asked") };
    assert!(element.is("resume", "urn:xmpp:sm:3"));
    let answer = |resumed: bool| Answer {
        write: vec![Element::new("x", "urn:xmpp:sm:3")],
        resumed: resumed.then(|| "alice@example.org/phone".parse().unwrap()),
        error: None,
    };
    assert!(talk.tell(Input::Answered(answer(false))).unwrap().is_none());
    assert_eq!(talk.said(), "<x xmlns='urn:xmpp:sm:3'/>");
    talk.send(resume).unwrap();
    assert!(matches!(talk.tell(Input::Answered(answer(true))).unwrap(), Some(Action::Proceed)));

    let mut talk = binding();
    talk.send(resume).unwrap();
    let error = StreamError::Extension(StreamCondition::Reset, None);
    let error = talk.tell(Input::Answered(Answer { error: Some(error), ..answer(false) })).unwrap_err();
    assert_eq!(error.condition(), StreamCondition::Reset);
}

/// XEP-0198 §3: what comes too early is for its extension to refuse, and the stream goes on from where it was.
#[test]
fn extensions_know_what_comes_too_early() {
    let failed = || Answer { write: vec![Element::new("failed", "u")], resumed: None, error: None };
    let ask = |talk: &mut Talk, is_known| {
        let asked = talk.send("<enable xmlns='urn:xmpp:sm:3'/>").unwrap();
        let Some(Action::Nonza { peer, .. }) = asked else { panic!("{asked:?}") };
        assert_eq!((peer.is_some(), talk.negotiation.is_authenticated()), (is_known, is_known));
        assert!(!talk.negotiation.wants_input());
    };
    let auth = plain("\0alice\0secret");
    for (talk, is_known, goes_on) in
        [(securing as fn() -> Talk, false, STARTTLS), (authenticating, false, &auth), (binding, true, BIND)]
    {
        let mut patient = talk();
        ask(&mut patient, is_known);
        assert!(patient.tell(Input::Answered(failed())).unwrap().is_none());
        assert_eq!(patient.said(), "<failed xmlns='u'/>");
        assert!(patient.send(goes_on).unwrap().is_some(), "{goes_on}");

        let mut stubborn = talk();
        for last in [None, None, Some(StreamCondition::PolicyViolation)] {
            ask(&mut stubborn, is_known);
            let told = stubborn.tell(Input::Answered(failed()));
            assert_eq!(told.err().map(|error| error.condition()), last);
            stubborn.action();
            assert_eq!(stubborn.said(), "<failed xmlns='u'/>");
        }

        let mut unknown = talk();
        ask(&mut unknown, is_known);
        let error = Some(StreamError::UnknownElement(Said::new("enable")));
        let error = unknown.tell(Input::Answered(Answer { error, ..failed() })).unwrap_err();
        assert_eq!(error.condition(), StreamCondition::UnsupportedStanzaType); // RFC 6120 §4.8.4
    }
}

#[test]
fn a_stream_can_be_closed_anywhere() {
    for talk in [securing as fn() -> Talk, authenticating, binding] {
        let mut talk = talk();
        assert!(matches!(talk.send("</stream:stream>").unwrap(), Some(Action::Close)));
        assert_eq!(talk.said(), "</stream:stream>"); // §4.4
    }
    // A client's own stream error is the end, too (§4.9.1.1).
    let mut talk = binding();
    assert!(matches!(talk.send("<stream:error/>").unwrap(), Some(Action::Close)));
}

/// However the network cuts it, a stream says the same.
#[test]
fn bytes_one_by_one_are_understood() {
    let mut talk = secured();
    for c in header(ORDINARY).chars() {
        talk.send(c.encode_utf8(&mut [0; 4])).unwrap();
    }
    assert!(talk.said().contains("<mechanism>PLAIN</mechanism>"));
    let mut asked = None;
    for c in plain("\0alice\0secret").chars() {
        asked = talk.send(c.encode_utf8(&mut [0; 4])).unwrap();
    }
    assert!(matches!(asked, Some(Action::Ask { cost: Cost::Hashing, .. })));
}
