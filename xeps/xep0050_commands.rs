//! # XEP-0050: Ad-Hoc Commands
//!
//! Follows 1.3.0 (2020-06-09). What the server does for people by forms, one after the other.
//!
//! - Extensions hand commands over as [`Command`]; here they are listed to those who may run them, and run. To others a
//!   command is not there in the list, and forbidden when it is asked for (§4.4).
//! - State, in memory: which run of a command is at which form. A run belongs to the full address that began it (§3.3).
//! - Ours: a run ends after ten minutes without a word, and when there are too many of one account the oldest ends.
//! - Ours: everything is said in English, whatever language was asked for (§3.7 would have most clients refused); only what
//!   is no language at all is `bad-locale`.
//! - Left out: announcing the list of commands by a message (§2.3); commands of accounts: there are none.

use std::collections::VecDeque;
use std::time::Duration;

use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::{Answer, Entity, Extension, Registry, Reply, Request, Spec};
use unisono_core::hub::Hub;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::stanza::IqType;
use unisono_core::storage::BoxFuture;
use unisono_xml::{Element, XML_NS};

use crate::xep0004_forms;
use crate::xep0030_disco::{Identity, Node, Nodes, item};

pub const NS: &str = "http://jabber.org/protocol/commands";
/// After so long without a word a run is over.
const IDLE_MAX: Duration = Duration::from_secs(600);
/// Runs of one account that are remembered, those that are over included.
const RUNS_OF_ONE_MAX: usize = 8;
/// Runs of all accounts.
const RUNS_MAX: usize = 4_096;

pub struct Commands;

impl Extension for Commands {
    fn spec(&self) -> Spec {
        Spec::xep(50, "1.3.0")
    }

    fn register(&self, on: &mut Registry) {
        on.feature(Entity::Server, NS);
        on.hand(Nodes { of: Entity::Server, find: node });
        on.iq_later(Entity::Server, IqType::Set, (NS, "command"), |request| Box::pin(run(request)));
    }
}

/// What the server can do for people.
pub struct Command {
    /// Its name for programs, unique on the server (§3.2).
    pub node: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Who may run it.
    pub is_for: fn(&Hub, &BareJid) -> bool,
    /// What has to be filled in first, one after the other.
    pub forms: &'static [Form],
    /// Does it, with the forms as they were filled in.
    pub carry_out: fn(Request, Vec<Element>) -> BoxFuture<'static, Result<Done, StanzaError>>,
}

/// A stage of a command.
pub struct Form {
    /// The empty form.
    pub show: fn() -> Element,
    /// Whether it is filled in as it should be.
    pub is_right: fn(&Element) -> bool,
}

/// What a command came to.
#[derive(Default)]
pub struct Done {
    /// What is shown, such as a form of type `result`.
    pub payload: Option<Element>,
    /// Why it failed (§3.6), in words for people.
    pub failure: Option<String>,
}

/// The parts of §4.4 that RFC 6120 does not name.
#[derive(Clone, Copy)]
enum Problem {
    MalformedAction,
    BadAction,
    BadLocale,
    BadPayload,
    BadSession,
    SessionExpired,
}

impl Problem {
    fn error(self) -> StanzaError {
        let (condition, name) = match self {
            Self::MalformedAction => (Condition::BadRequest, "malformed-action"),
            Self::BadAction => (Condition::BadRequest, "bad-action"),
            Self::BadLocale => (Condition::BadRequest, "bad-locale"),
            Self::BadPayload => (Condition::BadRequest, "bad-payload"),
            Self::BadSession => (Condition::BadRequest, "bad-sessionid"),
            Self::SessionExpired => (Condition::NotAllowed, "session-expired"),
        };
        StanzaError::new(condition).with_application(Element::new(name, NS))
    }
}

/// The error for a form that was not filled in as it should be, in a command's own judgement.
pub fn bad_payload() -> StanzaError {
    Problem::BadPayload.error()
}

/// What is asked of a run (§4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Action {
    Execute,
    Next,
    Prev,
    Complete,
    Cancel,
}

impl Action {
    fn parse(text: Option<&str>) -> Option<Self> {
        Some(match text {
            None | Some("execute") => Self::Execute,
            Some("next") => Self::Next,
            Some("prev") => Self::Prev,
            Some("complete") => Self::Complete,
            Some("cancel") => Self::Cancel,
            Some(_) => return None,
        })
    }
}

/// One run of a command.
#[derive(Clone, Debug)]
struct Run {
    id: String,
    node: &'static str,
    whose: Jid,
    until: Duration,
    /// The forms that were filled in; the next one is shown. None when it is over.
    filled: Option<Vec<Element>>,
}

/// All runs, the oldest first.
#[derive(Default)]
struct Runs(VecDeque<Run>);

impl Runs {
    fn keep(&mut self, run: Run) {
        let of_one = |other: &Run| other.whose.to_bare() == run.whose.to_bare();
        if self.0.iter().filter(|other| of_one(other)).count() >= RUNS_OF_ONE_MAX
            && let Some(oldest) = self.0.iter().position(of_one)
        {
            self.0.remove(oldest);
        }
        if self.0.len() >= RUNS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(run);
    }

    fn find(&mut self, id: &str, node: &str, whose: &Jid, now: Duration) -> Result<&mut Run, Problem> {
        let is_meant = |run: &&mut Run| run.id == id && run.node == node && run.whose == *whose;
        let run = self.0.iter_mut().find(is_meant).ok_or(Problem::BadSession)?;
        if now >= run.until || run.filled.is_none() {
            run.filled = None;
            return Err(Problem::SessionExpired);
        }
        Ok(run)
    }
}

/// §2.2: the commands that somebody may run, and each of them.
fn node(request: &Request, node: &str) -> Option<Node> {
    let asker = request.from().to_bare();
    let mut commands = request.hub.registry.handed::<Command>();
    let identity = |kind, name| Identity { category: "automation", kind, name, ..Identity::default() };
    if node == NS {
        let to = request.iq.header.to.as_ref().map_or("", Jid::as_str);
        let seen = commands.filter(|command| (command.is_for)(&request.hub, &asker));
        let items = seen.map(|command| item(to, command.node, command.name)).collect();
        return Some(Node { identities: vec![identity("command-list", "")], items, ..Node::default() });
    }
    let command = commands.find(|command| command.node == node)?;
    // §2.4: who may not run it is told so.
    if !(command.is_for)(&request.hub, &asker) {
        return Some(Node { is_forbidden: true, ..Node::default() });
    }
    let identities = vec![identity("command-node", command.name)];
    Some(Node { identities, features: vec![NS, xep0004_forms::NS], ..Node::default() })
}

/// What is to be done after a look at the runs.
enum Step {
    /// A form is shown, the one with this number.
    Show {
        id: String,
        form: usize,
    },
    CarryOut {
        id: String,
        filled: Vec<Element>,
    },
    Canceled {
        id: String,
    },
}

async fn run(request: Request) -> Answer {
    let hub = request.hub.clone();
    let wanted = request.payload.attr("node").ok_or(StanzaError::new(Condition::BadRequest))?; // §4.1
    let command = hub.registry.handed::<Command>().find(|command| command.node == wanted);
    let command = command.ok_or(StanzaError::new(Condition::ItemNotFound))?;
    if !(command.is_for)(&hub, &request.from().to_bare()) {
        return Err(StanzaError::new(Condition::Forbidden));
    }
    let lang = request.payload.attr_ns(XML_NS, "lang").or(request.iq.header.lang.as_deref());
    if lang.is_some_and(|lang| !is_language(lang)) {
        return Err(Problem::BadLocale.error());
    }
    let action = Action::parse(request.payload.attr("action")).ok_or(Problem::MalformedAction.error())?;
    let step = match request.payload.attr("sessionid") {
        None => begin(&request, command, action),
        Some(id) => go_on(&request, command, action, id),
    };
    match step.map_err(Problem::error)? {
        Step::Show { id, form } => {
            let (forms, shown) = (command.forms.len(), command.forms.get(form));
            let shown = shown.map(|form| (form.show)()).ok_or(Problem::BadAction.error())?;
            let actions = actions(form, forms);
            Ok(Reply::with(answer(command, &id, "executing").child(actions).child(shown).build()))
        }
        Step::Canceled { id } => Ok(Reply::with(answer(command, &id, "canceled").build())),
        Step::CarryOut { id, filled } => {
            let Done { payload, failure } = (command.carry_out)(request, filled).await?;
            let note =
                failure.map(|text| Element::builder("note", NS).attr("type", "error").text(text).build());
            Ok(Reply::with(answer(command, &id, "completed").child_opt(payload).child_opt(note).build()))
        }
    }
}

fn answer(command: &Command, id: &str, status: &'static str) -> unisono_xml::ElementBuilder {
    let element = Element::builder("command", NS).attr("node", command.node).attr("sessionid", id);
    element.attr("status", status).attr_ns(XML_NS, "lang", "en")
}

/// §3.4: what may be done at this form, of so many.
fn actions(form: usize, forms: usize) -> Element {
    let forward = if is_last(form, forms) { "complete" } else { "next" };
    let back = (form > 0).then(|| Element::new("prev", NS));
    let actions = Element::builder("actions", NS).attr("execute", forward).child_opt(back);
    actions.child(Element::new(forward, NS)).build()
}

fn is_last(form: usize, forms: usize) -> bool {
    form.saturating_add(1) >= forms
}

/// §3.3: a command without the id of a run begins one.
fn begin(request: &Request, command: &Command, action: Action) -> Result<Step, Problem> {
    if action != Action::Execute {
        return Err(Problem::BadSession);
    }
    let hub = &request.hub;
    let id = unisono_core::invitations::Invitation::token(hub.random.as_ref());
    let until = hub.clock.elapsed().saturating_add(IDLE_MAX);
    let filled = (!command.forms.is_empty()).then(Vec::new);
    let is_done = filled.is_none();
    let run = Run { id: id.clone(), node: command.node, whose: request.from().clone(), until, filled };
    hub.memory(|runs: &mut Runs| runs.keep(run));
    Ok(if is_done { Step::CarryOut { id, filled: Vec::new() } } else { Step::Show { id, form: 0 } })
}

fn go_on(request: &Request, command: &Command, action: Action, id: &str) -> Result<Step, Problem> {
    let now = request.hub.clock.elapsed();
    request.hub.memory(|runs: &mut Runs| {
        let run = runs.find(id, command.node, request.from(), now)?;
        run.until = now.saturating_add(IDLE_MAX);
        advance(run, command, action, form_in(&request.payload))
    })
}

/// What was filled in. §3.5.1: whether it is called `submit` or `cancel`.
fn form_in(payload: &Element) -> Option<&Element> {
    payload.child("x", xep0004_forms::NS)
}

/// Takes a run a step on, or back.
fn advance(
    run: &mut Run,
    command: &Command,
    action: Action,
    submitted: Option<&Element>,
) -> Result<Step, Problem> {
    let id = run.id.clone();
    let Some(filled) = &mut run.filled else { return Err(Problem::SessionExpired) };
    let (at, forms) = (filled.len(), command.forms.len());
    match action {
        Action::Cancel => {
            run.filled = None;
            return Ok(Step::Canceled { id });
        }
        Action::Prev if at == 0 => return Err(Problem::BadAction),
        Action::Prev => {
            filled.pop();
            return Ok(Step::Show { id, form: filled.len() });
        }
        Action::Next if is_last(at, forms) => return Err(Problem::BadAction),
        Action::Complete if !is_last(at, forms) => return Err(Problem::BadAction),
        Action::Execute | Action::Next | Action::Complete => {}
    }
    let form = command.forms.get(at).ok_or(Problem::BadAction)?;
    let submitted = submitted.filter(|submitted| (form.is_right)(submitted)).ok_or(Problem::BadPayload)?;
    if !is_last(at, forms) {
        filled.push(submitted.clone());
        return Ok(Step::Show { id, form: filled.len() });
    }
    let mut all = run.filled.take().unwrap_or_default();
    all.push(submitted.clone());
    Ok(Step::CarryOut { id, filled: all })
}

/// RFC 5646 §2.1, in outline: subtags of one to eight letters or digits.
fn is_language(tag: &str) -> bool {
    tag.is_empty()
        || tag.split('-').all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric())
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::element;

    fn shown() -> Element {
        Element::new("x", xep0004_forms::NS)
    }

    const ONE: Form = Form { show: shown, is_right: |form| form.attr("type") == Some("submit") };

    const fn command(forms: &'static [Form]) -> Command {
        Command {
            node: "urn:test",
            name: "Test",
            is_for: |_, _| true,
            forms,
            carry_out: |_, _| Box::pin(std::future::ready(Ok(Done::default()))),
        }
    }

    fn a_run(id: &str, whose: &str) -> Run {
        let (node, whose) = ("urn:test", whose.parse().unwrap());
        Run { id: id.to_owned(), node, whose, until: IDLE_MAX, filled: Some(Vec::new()) }
    }

    fn told(step: &Result<Step, Problem>) -> String {
        match step {
            Ok(Step::Show { form, .. }) => format!("form {form}"),
            Ok(Step::CarryOut { filled, .. }) => format!("done with {}", filled.len()),
            Ok(Step::Canceled { .. }) => "canceled".to_owned(),
            Err(problem) => {
                let error = problem.error().to_element();
                error.children().last().map_or("", Element::name).to_owned()
            }
        }
    }

    #[test]
    fn a_run_goes_from_form_to_form() {
        use Action::{Cancel, Complete, Execute, Next, Prev};
        let right = element("<x xmlns='jabber:x:data' type='submit'/>");
        let wrong = element("<x xmlns='jabber:x:data' type='result'/>");
        let single = command(&[ONE]);
        let double = command(&[ONE, ONE]);
        for (command, steps) in [
            (
                &single,
                vec![(Execute, Some(&right), "done with 1"), (Execute, Some(&right), "session-expired")],
            ),
            (&single, vec![(Complete, Some(&right), "done with 1")]),
            (&single, vec![(Next, Some(&right), "bad-action"), (Prev, None, "bad-action")]), // §3.4
            (
                &single,
                vec![
                    (Execute, None, "bad-payload"),
                    (Execute, Some(&wrong), "bad-payload"),
                    (Cancel, None, "canceled"),
                ],
            ),
            (&single, vec![(Cancel, None, "canceled"), (Execute, Some(&right), "session-expired")]), // §2.4.3
            (&double, vec![(Complete, Some(&right), "bad-action"), (Next, Some(&right), "form 1")]),
            (
                &double,
                vec![
                    (Execute, Some(&right), "form 1"),
                    (Prev, None, "form 0"), // §2.4.2
                    (Prev, None, "bad-action"),
                    (Next, Some(&right), "form 1"),
                    (Next, Some(&right), "bad-action"),
                    (Execute, Some(&right), "done with 2"),
                ],
            ),
        ] {
            let mut run = a_run("1", "a@b/c");
            for (action, form, want) in steps {
                assert_eq!(told(&advance(&mut run, command, action, form)), want, "{action:?}");
            }
        }
    }

    #[test]
    fn a_run_is_found_by_who_began_it_until_it_is_over() {
        let mut runs = Runs::default();
        runs.keep(a_run("1", "a@b/c"));
        let whose = |text: &str| text.parse::<Jid>().unwrap();
        let mut found = |id, node, who: &str, now| {
            told(&runs.find(id, node, &whose(who), now).map(|run| Step::Canceled { id: run.id.clone() }))
        };
        for (id, node, who, now, want) in [
            ("1", "urn:test", "a@b/c", Duration::ZERO, "canceled"),
            ("2", "urn:test", "a@b/c", Duration::ZERO, "bad-sessionid"),
            ("", "urn:test", "a@b/c", Duration::ZERO, "bad-sessionid"),
            ("1", "urn:other", "a@b/c", Duration::ZERO, "bad-sessionid"),
            ("1", "urn:test", "a@b/d", Duration::ZERO, "bad-sessionid"), // §3.3
            ("1", "urn:test", "x@b/c", Duration::ZERO, "bad-sessionid"),
            ("1", "urn:test", "a@b/c", IDLE_MAX, "session-expired"),
            ("1", "urn:test", "a@b/c", Duration::ZERO, "session-expired"), // for good
        ] {
            assert_eq!(found(id, node, who, now), want, "{id} {node} {who} {now:?}");
        }
    }

    #[test]
    fn runs_have_a_bound() {
        let mut runs = Runs::default();
        for n in 0..20 {
            runs.keep(a_run(&n.to_string(), &format!("a@b/{n}")));
        }
        runs.keep(a_run("other", "x@b/c"));
        assert_eq!(runs.0.len(), RUNS_OF_ONE_MAX + 1);
        assert_eq!(runs.0.front().unwrap().id, "12");
        for n in 0..RUNS_MAX {
            runs.keep(a_run("1", &format!("a{n}@b/c")));
        }
        assert_eq!(runs.0.len(), RUNS_MAX);
    }

    #[test]
    fn what_may_be_done_is_told() {
        for (form, forms, want) in [
            (
                0,
                1,
                "<actions xmlns='http://jabber.org/protocol/commands' execute='complete'><complete/></actions>",
            ),
            (0, 2, "<actions xmlns='http://jabber.org/protocol/commands' execute='next'><next/></actions>"),
            (
                1,
                2,
                "<actions xmlns='http://jabber.org/protocol/commands' execute='complete'><prev/><complete/></actions>",
            ),
        ] {
            assert_eq!(actions(form, forms), element(want));
        }
    }

    #[test]
    fn what_is_no_language_is_told_from_what_is() {
        for (tag, want) in [
            ("", true),
            ("en", true),
            ("fr-CA", true),
            ("x-klingon", true),
            ("!", false),
            ("en_US", false),
            ("en-", false),
        ] {
            assert_eq!(is_language(tag), want, "{tag}");
        }
    }
}
