//! A service that a device is woken by, and what is known of it.

use std::time::Duration;

use compact_str::{CompactString, format_compact};
use unisono_core::error::{Condition, StanzaError};
use unisono_core::extension::KeyedState;
use unisono_core::ids::{DeviceId, LogPosition};
use unisono_core::jid::Jid;
use unisono_core::stanza::{CLIENT_SCOPE, OUR_LIMITS};
use unisono_xml::Element;

use super::waiting::Waiting;
use crate::xep0004_forms::{self as forms, Submitted};
use crate::xep0060_pubsub;

/// Fields of the options that a service wants with each push, and all their bytes.
const FIELDS_MAX: usize = 16;
const OPTIONS_BYTES_MAX: usize = 4 * 1024;
/// Pushes one after the other that the device did not come for; then they are rarer,
const UNHEEDED_MAX: u32 = 16;
const THEN_EVERY: Duration = Duration::from_secs(60);
/// Failures one after the other; with one more, the service is given up. That takes two days.
const FAILURES_MAX: u32 = 18;
/// How long after the first failure it is tried again; twice as long after the next,
const TRY_AFTER: Duration = Duration::from_secs(5);
/// and at most so long.
const TRY_AFTER_MAX: Duration = Duration::from_secs(6 * 3600);

/// What a service wants to have with each push (§5): a form.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Options(Option<String>);

impl Options {
    /// The form of an `<enable/>`.
    pub(super) fn of(enable: &Element) -> Result<Self, StanzaError> {
        let Some(form) = enable.child("x", forms::NS) else { return Ok(Self(None)) };
        let bad = || StanzaError::new(Condition::BadRequest).with_text("the options are no form for that");
        let form_type = form_type();
        let submitted = Submitted::parse(form, &form_type).ok_or_else(bad)?;
        let fields: Vec<_> = submitted.names().filter(|name| *name != "FORM_TYPE").collect();
        if fields.len() > FIELDS_MAX {
            return Err(StanzaError::new(Condition::NotAcceptable).with_text("too many options"));
        }
        let fields = fields.into_iter().map(|name| {
            let values = submitted.values(name).unwrap_or_default().iter();
            forms::field(name, "text-single", values.map(String::as_str))
        });
        let text = forms::form("submit", &form_type).children(fields).build().to_string_in(&CLIENT_SCOPE);
        if text.len() > OPTIONS_BYTES_MAX {
            return Err(StanzaError::new(Condition::NotAcceptable).with_text("the options are too long"));
        }
        Ok(Self(Some(text)))
    }

    /// The form for a push.
    pub(super) fn form(&self) -> Option<Element> {
        self.0.as_deref().and_then(|text| Element::parse(text, &CLIENT_SCOPE, &OUR_LIMITS).ok())
    }
}

/// XEP-0060 §7.1.5
fn form_type() -> String {
    format!("{}#publish-options", xep0060_pubsub::NS)
}

/// What names a service and a node of it within an account. No address has an end of line.
pub(super) fn key(jid: &Jid, node: Option<&str>) -> CompactString {
    match node {
        Some(node) => format_compact!("{jid}\n{node}"),
        None => jid.as_str().into(),
    }
}

/// The service, and its node, that this names.
pub(super) fn address(key: &str) -> Option<(Jid, Option<&str>)> {
    let (jid, node) = key.split_once('\n').map_or((key, None), |(jid, node)| (jid, Some(node)));
    Some((jid.parse().ok()?, node))
}

/// A service by which a device is woken.
#[derive(Clone, Debug)]
pub(super) struct Registration {
    pub(super) device: DeviceId,
    pub(super) options: Options,
    /// What was enabled later has a later one.
    pub(super) since: LogPosition,
    /// What is in the log up to here is not pushed any more.
    pub(super) pushed: LogPosition,
    /// Pushes one after the other that failed in a way that may pass.
    pub(super) failures: u32,
    /// All that follows is in memory alone. What the device lacks:
    pub(super) waiting: Waiting,
    /// the last of it that was told by the push that is not answered yet,
    pub(super) sent: Option<u64>,
    /// nothing is pushed before this time,
    pub(super) rest_until: Duration,
    /// and so many pushes did not make the device come.
    pub(super) unheeded: u32,
}

impl Registration {
    pub(super) fn new(device: DeviceId, options: Options, since: LogPosition, pushed: LogPosition) -> Self {
        Self {
            device,
            options,
            since,
            pushed,
            failures: 0,
            waiting: Waiting::default(),
            sent: None,
            rest_until: Duration::ZERO,
            unheeded: 0,
        }
    }

    /// Whether it would be the same if it were enabled again.
    pub(super) fn is_of(&self, device: DeviceId, options: &Options) -> bool {
        self.device == device && self.options == *options && self.failures == 0
    }

    /// It is enabled again.
    pub(super) fn again(self, device: DeviceId, options: Options) -> Self {
        Self { device, options, failures: 0, rest_until: Duration::ZERO, ..self }
    }

    /// The device has all that it was told of.
    pub(super) fn caught_up(&mut self) {
        if self.unheeded >= UNHEEDED_MAX && self.failures == 0 {
            self.rest_until = Duration::ZERO;
        }
        self.unheeded = 0;
    }

    /// The service has taken a push.
    pub(super) fn succeeded(&mut self, now: Duration) {
        if let Some(number) = self.sent.take() {
            self.pushed = self.pushed.max(self.waiting.pushed(number));
        }
        self.failures = 0;
        self.unheeded = self.unheeded.saturating_add(1);
        if self.unheeded >= UNHEEDED_MAX {
            self.rest_until = now.saturating_add(THEN_EVERY);
        }
    }

    /// A push failed in a way that may pass. Whether it is to be tried again.
    pub(super) fn failed(&mut self, now: Duration) -> bool {
        self.sent = None;
        let wait = TRY_AFTER.saturating_mul(1_u32.checked_shl(self.failures).unwrap_or(u32::MAX));
        self.rest_until = now.saturating_add(wait.min(TRY_AFTER_MAX));
        self.failures = self.failures.saturating_add(1);
        self.failures <= FAILURES_MAX
    }
}

impl KeyedState for Registration {
    const KIND: &'static str = "push";

    fn decode(text: &str) -> Option<Self> {
        let mut lines = text.splitn(5, '\n');
        let mut number = || lines.next()?.parse::<i64>().ok();
        let (device, since, pushed) = (DeviceId(number()?), LogPosition(number()?), LogPosition(number()?));
        let failures = u32::try_from(number()?).ok()?;
        let options = lines.next().filter(|options| !options.is_empty()).map(ToOwned::to_owned);
        Some(Self { failures, ..Self::new(device, Options(options), since, pushed) })
    }

    fn encode(&self) -> String {
        let Self { device, since, pushed, failures, .. } = self;
        format!("{device}\n{since}\n{pushed}\n{failures}\n{}", self.options.0.as_deref().unwrap_or_default())
    }
}
