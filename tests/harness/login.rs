//! From a connection to a bound resource, in steps.

use minidom::Element;

use super::device::{Device, Lost, Resumption};
use super::scram::{Exchange, Mechanism, plain};
use super::{NS_CLIENT, NS_SASL, NS_SASL2, NS_SM, Wire};

const NS_BIND: &str = "urn:ietf:params:xml:ns:xmpp-bind";

/// A stream that is authenticated, and has nothing bound.
pub(crate) struct Login {
    pub(crate) wire: Wire,
    /// What the server offers now.
    pub(crate) features: Element,
}

impl Login {
    /// Runs one mechanism on a stream that offers it. The error is the condition that the server names.
    pub(crate) async fn run(
        wire: Wire,
        mechanism: Mechanism,
        name: &str,
        password: &str,
    ) -> Result<Self, (Wire, String)> {
        Self::run_for(wire, mechanism, "", name, password).await
    }

    /// The same with the wish to act for somebody.
    pub(crate) async fn run_for(
        mut wire: Wire,
        mechanism: Mechanism,
        whom: &str,
        name: &str,
        password: &str,
    ) -> Result<Self, (Wire, String)> {
        let end = if mechanism.name == "PLAIN" {
            begin(&mut wire, "PLAIN", &plain(whom, name, password)).await
        } else {
            let exchange = Exchange::new(mechanism, name, password).acting_for(whom);
            run_exchange(&mut wire, mechanism, exchange).await
        };
        if !end.is("success", NS_SASL) {
            let condition = end.children().next().expect("a failure has a condition").name().to_owned();
            return Err((wire, condition));
        }
        let features = wire.open().await;
        Ok(Self { wire, features })
    }

    /// Binds a resource.
    pub(crate) async fn bind(mut self, resource: &str) -> Device {
        let wish = format!("<resource>{resource}</resource>");
        let bind = format!("<iq type='set' id='bind'><bind xmlns='{NS_BIND}'>{wish}</bind></iq>");
        self.wire.send(&bind).await;
        let answer = self.wire.element().await;
        assert_eq!((answer.name(), answer.attr("type")), ("iq", Some("result")), "{answer:?}");
        let jid = answer.get_child("bind", NS_BIND).and_then(|bind| bind.get_child("jid", NS_BIND));
        Device::new(self.wire, jid.unwrap().text())
    }

    /// Asks to take up a session that another connection began.
    pub(crate) async fn resume(mut self, lost: Lost) -> Resumption {
        let Lost { jid, counts } = lost;
        let (id, handled) = (&counts.id, counts.handled);
        self.wire.send(&format!("<resume xmlns='{NS_SM}' previd='{id}' h='{handled}'/>")).await;
        let answer = self.wire.element().await;
        let handled = answer.attr("h").map(|h| h.parse().unwrap());
        if answer.is("resumed", NS_SM) {
            let mut device = Device::new(self.wire, jid);
            let mut counts = counts;
            counts.acked = handled.unwrap();
            device.counts = Some(counts);
            return Resumption::Resumed(device);
        }
        assert!(answer.is("failed", NS_SM), "{answer:?}");
        Resumption::Failed { login: self, handled, unacked: counts.after(handled.unwrap_or_default()) }
    }
}

/// Runs one mechanism in the profile of XEP-0388, and asks for more in the same breath. Returns the server's last word.
pub(crate) async fn authenticate(
    wire: &mut Wire,
    mechanism: Mechanism,
    (name, password): (&str, &str),
    more: &str,
) -> Element {
    let mut exchange = Exchange::new(mechanism, name, password);
    let is_plain = mechanism.name == "PLAIN";
    let first = if is_plain { plain("", name, password) } else { exchange.first() };
    let name = mechanism.name;
    wire.send(&format!(
        "<authenticate xmlns='{NS_SASL2}' mechanism='{name}'><initial-response>{first}</initial-response>{more}\
         </authenticate>"
    ))
    .await;
    let answer = wire.element().await;
    if !answer.is("challenge", NS_SASL2) {
        return answer;
    }
    let last = exchange.last(&answer.text(), &bound_to(wire, mechanism));
    wire.send(&format!("<response xmlns='{NS_SASL2}'>{last}</response>")).await;
    let end = wire.element().await;
    let data = end.get_child("additional-data", NS_SASL2).map(Element::text).unwrap_or_default();
    let is_proven = !end.is("success", NS_SASL2) || exchange.is_proven(&data);
    assert!(is_proven, "the server does not prove that it knows the password: {end:?}");
    end
}

/// What a proof is tied to.
fn bound_to(wire: &Wire, mechanism: Mechanism) -> Vec<u8> {
    match mechanism.binding {
        Some("tls-exporter") => wire.bindings.exporter.clone(),
        Some(_) => wire.bindings.end_point.clone(),
        None => Vec::new(),
    }
}

async fn begin(wire: &mut Wire, mechanism: &str, data: &str) -> Element {
    wire.send(&format!("<auth xmlns='{NS_SASL}' mechanism='{mechanism}'>{data}</auth>")).await;
    wire.element().await
}

async fn run_exchange(wire: &mut Wire, mechanism: Mechanism, mut exchange: Exchange) -> Element {
    let challenge = begin(wire, mechanism.name, &exchange.first()).await;
    if !challenge.is("challenge", NS_SASL) {
        return challenge;
    }
    let last = exchange.last(&challenge.text(), &bound_to(wire, mechanism));
    wire.send(&format!("<response xmlns='{NS_SASL}'>{last}</response>")).await;
    let end = wire.element().await;
    let is_proven = !end.is("success", NS_SASL) || exchange.is_proven(&end.text());
    assert!(is_proven, "the server does not prove that it knows the password: {end:?}");
    end
}

/// An iq of a type that stream negotiation knows nothing of.
pub(crate) fn iq(kind: &str, id: &str, to: Option<&str>, payload: &str) -> String {
    let to = to.map(|to| format!(" to='{to}'")).unwrap_or_default();
    format!("<iq xmlns='{NS_CLIENT}' type='{kind}' id='{id}'{to}>{payload}</iq>")
}
