//! Iqs before authentication.

use super::*;

const ASK: &str = "<iq type='get' id='1'><query xmlns='urn:x'/></iq>";

fn answer(kind: &str) -> Element {
    Element::builder("iq", NS_CLIENT).attr("type", kind).attr("id", "1").build()
}

#[test]
fn what_an_extension_answers_may_come_before_authentication() {
    let mut talk = secured();
    talk.send(&header(ORDINARY)).unwrap();
    let said = talk.said();
    assert!(said.contains("<register xmlns='urn:x'/>"), "{said}");
    let Some(Action::Early { domain, element }) = talk.send(ASK).unwrap() else { panic!("nobody is asked") };
    assert_eq!((domain.as_str(), element.attr("id")), ("example.org", Some("1")));
    assert!(!talk.negotiation.wants_input());
    assert!(talk.tell(Input::AnsweredEarly(answer("result"))).unwrap().is_none());
    assert_eq!(talk.said(), "<iq type='result' id='1'/>");
    // And then one authenticates as ever.
    let asked = talk.send(&plain("\0alice\0secret")).unwrap();
    assert!(matches!(asked, Some(Action::Ask { .. })), "{asked:?}");
}

#[test]
fn all_else_ends_the_stream_as_before() {
    let begun = || {
        let mut talk = authenticating();
        let begin = "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='SCRAM-SHA-1'><initial-response>\
                     biwsbj1hbGljZSxyPWZ5a28rZDJsYmJGZ09OUnY5cWt4ZGF3TA==</initial-response></authenticate>";
        assert!(matches!(talk.send(begin).unwrap(), Some(Action::Ask { .. })));
        talk.tell(Input::Credentials(Ok(None))).unwrap();
        talk
    };
    for (talk, text) in [
        (securing(), ASK), // outside of TLS
        (authenticating(), "<iq type='get' id='1'><query xmlns='urn:y'/></iq>"),
        (authenticating(), "<iq type='get' id='1'><other xmlns='urn:x'/></iq>"),
        (authenticating(), "<iq type='result' id='1'><query xmlns='urn:x'/></iq>"),
        (authenticating(), "<iq id='1'><query xmlns='urn:x'/></iq>"),
        (authenticating(), "<message><query xmlns='urn:x'/></message>"),
        (authenticating(), "<iq type='get' id='1'/>"),
        (begun(), ASK), // XEP-0388 §2.4
        (binding(), ASK),
    ] {
        assert_eq!(talk.ends(text).0, StreamCondition::NotAuthorized, "{text}");
    }
}

#[test]
fn there_is_a_bound_to_how_many_and_the_time_is_given_once() {
    let mut talk = authenticating();
    let (first, limits) = (talk.negotiation.poll_timeout(), terms().limits.clone());
    let ask = |talk: &mut Talk, kind| {
        assert!(matches!(talk.send(ASK).unwrap(), Some(Action::Early { .. })));
        talk.tell(Input::AnsweredEarly(answer(kind))).unwrap();
    };
    ask(&mut talk, "error");
    assert_eq!(talk.negotiation.poll_timeout(), first);
    ask(&mut talk, "result");
    let until = talk.now + limits.register_within;
    assert_eq!(talk.negotiation.poll_timeout(), until);
    talk.now += Duration::from_secs(10);
    for _ in 2..limits.early_iqs_max {
        ask(&mut talk, "result");
        assert_eq!(talk.negotiation.poll_timeout(), until);
    }
    assert_eq!(talk.ends(ASK).0, StreamCondition::PolicyViolation);
}
