//! What the devices of the server's accounts announce is learned (§5.4).

use std::sync::Arc;
use std::time::Duration;

use compact_str::CompactString;
use unisono_core::asking::NoAnswer;
use unisono_core::hub::{Hub, SessionRef};
use unisono_core::session::Session;
use unisono_core::stanza::Presence;
use unisono_xml::Element;

use super::memory::{Memory, Next};
use super::verification::{NOTIFY, children};
use super::{Announced, Hash, announced};
use crate::xep0030_disco::NS_INFO;

/// Nodes that one device may be interested in, and the bytes of the name of one.
const NODES_MAX: usize = 256;
const NODE_BYTES_MAX: usize = 1023;
/// A device may announce so many different things at once,
const CHANGES_MAX: u32 = 8;
/// and one more after each such time. Others are not looked at, until it says so again.
const CHANGE_EVERY: Duration = Duration::from_secs(30);

/// What a session announced, and what came of it.
#[derive(Default)]
struct Said {
    what: Option<Announced>,
    /// What it said of itself where that does not tell of others.
    own: Option<Arc<[CompactString]>>,
    /// It was asked, or waits for what another one answers.
    is_open: bool,
    allowance: Allowance,
}

/// How often a session may still change its mind.
#[derive(Default)]
struct Allowance {
    spent: u32,
    since: Duration,
}

impl Allowance {
    fn take(&mut self, now: Duration) -> bool {
        while self.spent > 0 && now.saturating_sub(self.since) >= CHANGE_EVERY {
            self.spent = self.spent.saturating_sub(1);
            self.since = self.since.saturating_add(CHANGE_EVERY);
        }
        if self.spent == 0 {
            self.since = now;
        }
        let may = self.spent < CHANGES_MAX;
        self.spent = self.spent.saturating_add(u32::from(may));
        may
    }
}

/// A device sends presence: what it announces may be known, or it is asked.
pub(super) fn present(hub: &Arc<Hub>, session: &SessionRef, presence: &Presence) {
    // XEP-0390 §6.2: it is not in every presence.
    let Some((what, _)) = announced(&presence.payload) else { return };
    let Some(memory) = hub.server_state::<Memory>() else { return };
    let known = match &what {
        Announced::Hash(hash) => memory.lock().known(hash),
        Announced::Own(_) => None,
    };
    let asks = {
        let mut account = session.cell.lock();
        let found = account.session_mut(session.id);
        found.is_some_and(|found| asks_for(found, &what, known, hub.clock.elapsed()))
    };
    if !asks {
        return;
    }
    let next = match &what {
        Announced::Hash(hash) => memory.lock().announced(hash, session, hub.clock.elapsed()),
        Announced::Own(_) => Next::Ask,
    };
    match next {
        Next::Wait => {}
        Next::Known(nodes) => tell(session, &what, &nodes, false),
        Next::Ask if ask(hub, session, &what) => {}
        Next::Ask => {
            forget(session, &what);
            if let Announced::Hash(hash) = &what {
                ask_others(hub, memory, session, hash);
            }
        }
    }
}

/// Whether a session has to be asked for what it announces now. If not, it has what it is interested in, or will have.
fn asks_for(
    session: &mut Session,
    what: &Announced,
    known: Option<Arc<[CompactString]>>,
    now: Duration,
) -> bool {
    let said: &mut Said = session.state();
    let is_new = said.what.as_ref() != Some(what);
    let known = known.or_else(|| said.own.clone().filter(|_| !is_new));
    let needs_question = known.is_none() && (is_new || !said.is_open);
    if (is_new || needs_question) && !said.allowance.take(now) {
        return false;
    }
    if is_new {
        (said.what, said.own) = (Some(what.clone()), None);
    }
    said.is_open = known.is_none();
    if let Some(nodes) = known {
        session.set_interests(nodes);
    }
    needs_question
}

/// Asks a session for what it announces. Whether there is an answer to wait for.
fn ask(hub: &Arc<Hub>, session: &SessionRef, what: &Announced) -> bool {
    let node = {
        let account = session.cell.lock();
        let presence = account.session(session.id).and_then(Session::presence);
        let Some((now, node)) = presence.and_then(|presence| announced(&presence.payload)) else {
            return false;
        };
        if now != *what {
            return false;
        }
        node
    };
    let query = Element::builder("query", NS_INFO).attr_opt("node", node).build();
    let what = what.clone();
    hub.ask_device(
        session,
        query,
        Box::new(move |hub, session, answer| answered(hub, session, &what, answer)),
    )
}

/// A session was asked for what it announced.
fn answered(hub: &Arc<Hub>, session: &SessionRef, what: &Announced, answer: Result<Element, NoAnswer>) {
    let Some(memory) = hub.server_state::<Memory>() else { return };
    let query = answer.ok().filter(|answer| answer.is("query", NS_INFO));
    let nodes = query.as_ref().map(|query| hub.interest_list(interests(query)));
    let Announced::Hash(hash) = what else {
        // Once is enough: who does not tell is interested in nothing.
        return tell(session, what, &nodes.unwrap_or_default(), true);
    };
    let is_true = query.is_some_and(|query| hash.verifies(&query).is_ok());
    if let Some(nodes) = nodes.as_ref().filter(|_| is_true) {
        let waiting = memory.lock().learned(*hash, nodes.clone());
        for session in std::iter::once(session).chain(&waiting) {
            tell(session, what, nodes, false);
        }
        return;
    }
    match nodes {
        // §5.4, step 2.3: it is true of the device itself.
        Some(nodes) => tell(session, what, &nodes, true),
        None => forget(session, what),
    }
    ask_others(hub, memory, session, hash);
}

/// Whoever waits for the same is asked instead of one that told nothing that is true of others.
fn ask_others(hub: &Arc<Hub>, memory: &Memory, silent: &SessionRef, hash: &Hash) {
    let instead_of = |silent: &SessionRef| memory.lock().failed(hash, silent, hub.clock.elapsed());
    let what = Announced::Hash(*hash);
    let mut next = instead_of(silent);
    while let Some(session) = next.pop() {
        if !ask(hub, &session, &what) {
            forget(&session, &what);
            next.extend(instead_of(&session));
        }
    }
}

/// A session is interested in these nodes, if it still announces the same.
fn tell(session: &SessionRef, what: &Announced, nodes: &Arc<[CompactString]>, is_own: bool) {
    let mut account = session.cell.lock();
    let Some(found) = account.session_mut(session.id) else { return };
    let said: &mut Said = found.state();
    if said.what.as_ref() != Some(what) {
        return;
    }
    said.is_open = false;
    if is_own {
        said.own = Some(nodes.clone());
    }
    if found.is_available() {
        found.set_interests(nodes.clone());
    }
}

/// A session did not answer. With its next presence it is asked again.
fn forget(session: &SessionRef, what: &Announced) {
    let mut account = session.cell.lock();
    let Some(found) = account.session_mut(session.id) else { return };
    let said: &mut Said = found.state();
    if said.what.as_ref() == Some(what) {
        said.is_open = false;
    }
}

/// The nodes whose changes a device wants to be told of (XEP-0060 §9.2).
fn interests(query: &Element) -> Vec<CompactString> {
    let features = children(query, "feature").filter_map(|feature| feature.attr("var")?.strip_suffix(NOTIFY));
    let mut nodes: Vec<_> = features
        .filter(|node| !node.is_empty() && node.len() <= NODE_BYTES_MAX)
        .map(CompactString::from)
        .collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.truncate(NODES_MAX);
    nodes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::element;

    #[test]
    fn the_nodes_that_a_client_names() {
        let long = "n".repeat(NODE_BYTES_MAX);
        let feature = |name: &str| format!("<feature var='{name}'/>");
        let query = |features: &str| element(&format!("<query xmlns='{NS_INFO}'>{features}</query>"));
        let mixed = [
            "urn:b+notify",
            "urn:a+notify",
            "urn:b+notify",
            "+notify",
            "urn:c",
            "urn:d+notify+",
            "+notify+notify",
        ];
        let mixed: String = mixed.iter().map(|name| feature(name)).collect();
        assert_eq!(interests(&query(&mixed)), ["+notify", "urn:a", "urn:b"]);
        let both = feature(&format!("{long}+notify")) + &feature(&format!("{long}n+notify"));
        assert_eq!(interests(&query(&both)), [long.as_str()]);
        let many: String = (0..1000).map(|n| feature(&format!("urn:{n}+notify"))).collect();
        assert_eq!(interests(&query(&many)).len(), NODES_MAX);
    }

    #[test]
    fn nobody_changes_its_mind_all_the_time() {
        let mut allowance = Allowance::default();
        let at = |seconds| Duration::from_secs(seconds);
        let taken = (0..100).filter(|_| allowance.take(at(1))).count();
        assert_eq!(taken, 8);
        assert!(!allowance.take(at(30)));
        assert!(allowance.take(at(31)) && !allowance.take(at(60)) && allowance.take(at(61)));
        let taken = (0..100).filter(|_| allowance.take(at(10_000))).count();
        assert_eq!(taken, 8);
    }
}
