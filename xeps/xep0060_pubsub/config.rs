//! §8.2 and §16.4.4: what an owner can set of a node, and its form.

use unisono_core::error::{Condition, StanzaError};
use unisono_core::jid::{BareJid, Jid};
use unisono_xml::Element;

use super::errors::{error, not_acceptable, precondition_not_met};
use super::node::is_service;
use crate::xep0004_forms::{self as forms, Submitted};
use crate::xep0395_compare_and_publish;

/// The form of a node's configuration.
pub const NS_CONFIG: &str = "http://jabber.org/protocol/pubsub#node_config";
/// Items that a node keeps at most: what `max` stands for (`pubsub#config-node-max`).
pub const ITEMS_MAX: u32 = 10_000;
/// Items that a node of a service keeps where nobody said otherwise.
const SERVICE_ITEMS: u32 = 20;
const ACCESS_MODEL: &str = "pubsub#access_model";
const PURGE_OFFLINE: &str = "pubsub#purge_offline";
/// Fields and values that nodes of a service do not have.
const OF_ACCOUNTS: [&str; 4] = ["pubsub#roster_groups_allowed", PURGE_OFFLINE, "presence", "roster"];
/// Bytes of a payload.
pub const PAYLOAD_BYTES_MAX: u32 = 192 * 1024;
/// Bytes of one text that describes a node, and of the name of a group.
const TEXT_BYTES_MAX: usize = 1_023;
/// Values of one field.
const VALUES_MAX: usize = 100;

macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(super) enum $name { $($variant),+ }

        impl $name {
            const NAMES: &'static [&'static str] = &[$($text),+];

            /// As it stands in forms.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            fn parse(text: &str) -> Option<Self> {
                [$(Self::$variant),+].into_iter().find(|choice| choice.as_str() == text)
            }
        }
    };
}

choices! {
    /// §4.5: who may subscribe and retrieve items.
    AccessModel { Open = "open", Presence = "presence", Roster = "roster", Authorize = "authorize", Whitelist = "whitelist" }
}
choices! {
    /// Who may publish.
    PublishModel { Publishers = "publishers", Subscribers = "subscribers", Open = "open" }
}
choices! {
    /// §6.1.7
    SendLast { Never = "never", OnSub = "on_sub", OnSubAndPresence = "on_sub_and_presence" }
}
choices! {
    /// §7.1.2.5
    NodeFull { RetractOldest = "retract-oldest", DiscardOldest = "discard-oldest", Reject = "reject" }
}
choices! {
    /// Of which type notifications are.
    NotificationType { Normal = "normal", Headline = "headline" }
}
choices! {
    /// §12.17
    ItemReply { Owner = "owner", Publisher = "publisher", None = "none" }
}

/// The configuration of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
#[expect(clippy::struct_excessive_bools, clippy::struct_field_names, reason = "the fields of the form")]
pub(super) struct Config {
    pub(super) access_model: AccessModel,
    pub(super) roster_groups_allowed: Vec<String>,
    pub(super) publish_model: PublishModel,
    pub(super) persist_items: bool,
    pub(super) max_items: u32,
    /// Seconds after which items go.
    pub(super) item_expire: Option<u32>,
    pub(super) publish_node_full: NodeFull,
    pub(super) max_payload_size: u32,
    pub(super) deliver_notifications: bool,
    pub(super) deliver_payloads: bool,
    pub(super) notification_type: NotificationType,
    pub(super) notify_config: bool,
    pub(super) notify_delete: bool,
    pub(super) notify_retract: bool,
    pub(super) notify_sub: bool,
    pub(super) presence_based_delivery: bool,
    pub(super) send_last_published_item: SendLast,
    pub(super) itemreply: ItemReply,
    pub(super) purge_offline: bool,
    pub(super) subscribe: bool,
    pub(super) title: String,
    pub(super) description: String,
    pub(super) kind: String,
    pub(super) language: String,
    pub(super) contact: Vec<String>,
    pub(super) body_xslt: String,
    pub(super) dataform_xslt: String,
}

impl Default for Config {
    /// A node of an account, where its owner did not say otherwise (XEP-0163 §5). What is stored of a node is what differs
    /// from this.
    fn default() -> Self {
        Self {
            access_model: AccessModel::Presence,
            roster_groups_allowed: Vec::new(),
            publish_model: PublishModel::Publishers,
            persist_items: true,
            max_items: 1,
            item_expire: None,
            publish_node_full: NodeFull::RetractOldest,
            max_payload_size: PAYLOAD_BYTES_MAX,
            deliver_notifications: true,
            deliver_payloads: true,
            notification_type: NotificationType::Headline,
            notify_config: false,
            notify_delete: true,
            notify_retract: true,
            notify_sub: false,
            presence_based_delivery: true,
            send_last_published_item: SendLast::OnSubAndPresence,
            itemreply: ItemReply::None,
            purge_offline: false,
            subscribe: true,
            title: String::new(),
            description: String::new(),
            kind: String::new(),
            language: String::new(),
            contact: Vec::new(),
            body_xslt: String::new(),
            dataform_xslt: String::new(),
        }
    }
}

/// How a field is shown and read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Shape {
    Boolean,
    Choice(&'static [&'static str]),
    Text,
    Texts,
    Jids,
}

/// A field of the form.
struct Field {
    name: &'static str,
    shape: Shape,
    label: &'static str,
    read: fn(&Config) -> Vec<String>,
    /// `None` if the values make no sense.
    write: fn(&mut Config, &[String]) -> Option<()>,
}

macro_rules! boolean {
    ($name:literal, $field:ident, $label:literal) => {
        Field {
            name: $name,
            shape: Shape::Boolean,
            label: $label,
            read: |config| vec![u8::from(config.$field).to_string()],
            write: |config, values| {
                config.$field = flag(one(values)?)?;
                Some(())
            },
        }
    };
}
macro_rules! choice {
    ($name:literal, $field:ident, $kind:ident, $label:literal) => {
        Field {
            name: $name,
            shape: Shape::Choice($kind::NAMES),
            label: $label,
            read: |config| vec![config.$field.as_str().to_owned()],
            write: |config, values| {
                config.$field = $kind::parse(one(values)?)?;
                Some(())
            },
        }
    };
}
macro_rules! text {
    ($name:literal, $field:ident, $label:literal) => {
        Field {
            name: $name,
            shape: Shape::Text,
            label: $label,
            read: |config| Some(config.$field.clone()).filter(|text| !text.is_empty()).into_iter().collect(),
            write: |config, values| {
                let text = if values.is_empty() { "" } else { one(values)? };
                config.$field = Some(text.to_owned()).filter(|text| text.len() <= TEXT_BYTES_MAX)?;
                Some(())
            },
        }
    };
}

/// All fields that nodes have, in the order of the form.
const FIELDS: &[Field] = &[
    text!("pubsub#title", title, "A name for the node"),
    text!("pubsub#description", description, "What the node is about"),
    text!("pubsub#type", kind, "What the payloads are, usually their namespace"),
    text!("pubsub#language", language, "The language of the node"),
    Field {
        name: "pubsub#contact",
        shape: Shape::Jids,
        label: "Whom to ask about the node",
        read: |config| config.contact.clone(),
        write: |config, values| {
            let are_jids =
                values.len() <= VALUES_MAX && values.iter().all(|value| value.parse::<Jid>().is_ok());
            config.contact = Some(values.to_vec()).filter(|_| are_jids)?;
            Some(())
        },
    },
    choice!("pubsub#access_model", access_model, AccessModel, "Who may subscribe and retrieve items"),
    Field {
        name: "pubsub#roster_groups_allowed",
        shape: Shape::Texts,
        label: "The groups of contacts that may subscribe and retrieve items",
        read: |config| config.roster_groups_allowed.clone(),
        write: |config, values| {
            let fit = values.len() <= VALUES_MAX && values.iter().all(|value| value.len() <= TEXT_BYTES_MAX);
            config.roster_groups_allowed = Some(values.to_vec()).filter(|_| fit)?;
            Some(())
        },
    },
    choice!("pubsub#publish_model", publish_model, PublishModel, "Who may publish"),
    boolean!("pubsub#persist_items", persist_items, "Whether items are kept"),
    Field {
        name: "pubsub#max_items",
        shape: Shape::Text,
        label: "How many items are kept",
        read: |config| vec![number_or_max(config.max_items, ITEMS_MAX)],
        write: |config, values| {
            config.max_items = parse_or_max(one(values)?, ITEMS_MAX).filter(|items| *items > 0)?;
            Some(())
        },
    },
    Field {
        name: "pubsub#item_expire",
        shape: Shape::Text,
        label: "After how many seconds items go",
        read: |config| vec![config.item_expire.map_or("max".to_owned(), |seconds| seconds.to_string())],
        write: |config, values| {
            config.item_expire = match one(values)? {
                "" | "max" => None,
                seconds => Some(seconds.parse().ok().filter(|seconds| *seconds > 0)?),
            };
            Some(())
        },
    },
    choice!("pubsub#publish_node_full", publish_node_full, NodeFull, "What happens when the node is full"),
    Field {
        name: "pubsub#max_payload_size",
        shape: Shape::Text,
        label: "Bytes of a payload",
        read: |config| vec![config.max_payload_size.to_string()],
        write: |config, values| {
            config.max_payload_size = parse_or_max(one(values)?, PAYLOAD_BYTES_MAX)?;
            Some(())
        },
    },
    boolean!("pubsub#deliver_notifications", deliver_notifications, "Whether anybody is notified"),
    boolean!("pubsub#deliver_payloads", deliver_payloads, "Whether notifications have the payload"),
    choice!(
        "pubsub#notification_type",
        notification_type,
        NotificationType,
        "Of which type notifications are"
    ),
    boolean!("pubsub#notify_config", notify_config, "Whether a change of the configuration is told"),
    boolean!("pubsub#notify_delete", notify_delete, "Whether it is told that the node is deleted"),
    boolean!("pubsub#notify_retract", notify_retract, "Whether it is told that items are removed"),
    boolean!("pubsub#notify_sub", notify_sub, "Whether owners are told of new subscribers"),
    boolean!(
        "pubsub#presence_based_delivery",
        presence_based_delivery,
        "Whether only who is there is notified"
    ),
    choice!(
        "pubsub#send_last_published_item",
        send_last_published_item,
        SendLast,
        "When the last item is sent"
    ),
    choice!("pubsub#itemreply", itemreply, ItemReply, "Whom an item names"),
    boolean!("pubsub#purge_offline", purge_offline, "Whether items go when the owner leaves"),
    boolean!("pubsub#subscribe", subscribe, "Whether anybody may subscribe"),
    text!("pubsub#body_xslt", body_xslt, "The URL of a transformation to a message body"),
    text!("pubsub#dataform_xslt", dataform_xslt, "The URL of a transformation to a data form"),
];

/// Fields that a node has in one way only.
const FIXED: &[(&str, &[&str])] =
    &[("pubsub#node_type", &["leaf"]), ("pubsub#tempsub", &["0", "false"]), ("pubsub#collection", &[""])];

fn one(values: &[String]) -> Option<&str> {
    match values {
        [value] => Some(value),
        _ => None,
    }
}

/// A boolean as XML Schema writes it.
pub(super) fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "true" => Some(true),
        "0" | "false" => Some(false),
        _ => None,
    }
}

fn number_or_max(number: u32, max: u32) -> String {
    if number == max { "max".to_owned() } else { number.to_string() }
}

/// A number, or `max` for the most there can be (§16.3, `config-node-max`). More than that is that much.
fn parse_or_max(text: &str, max: u32) -> Option<u32> {
    if text == "max" {
        return Some(max);
    }
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().map_or(max, |number: u32| number.min(max)))
}

impl Config {
    /// The configuration with what a form changes of it. What the form does not know stays (XEP-0004 §3.2), what we do not
    /// know is nothing to us.
    ///
    /// # Errors
    ///
    /// A value that makes no sense, or that no node has (§8.2.5.2).
    pub(super) fn with(&self, form: &Submitted) -> Result<Self, StanzaError> {
        let mut config = self.clone();
        for name in form.names() {
            let values = form.values(name).unwrap_or_default();
            if let Some(field) = FIELDS.iter().find(|field| field.name == name) {
                (field.write)(&mut config, values).ok_or_else(|| refused(name))?;
            } else if let Some((_, allowed)) = FIXED.iter().find(|(fixed, _)| *fixed == name)
                && !values.iter().all(|value| allowed.contains(&value.as_str()))
            {
                return Err(refused(name));
            }
        }
        Ok(config)
    }

    /// A node of an account or of a service, where nobody said otherwise (§4.5).
    pub(super) fn of_owner(owner: &BareJid) -> Self {
        if !is_service(owner) {
            return Self::default();
        }
        Self {
            access_model: AccessModel::Open,
            max_items: SERVICE_ITEMS,
            presence_based_delivery: false,
            ..Self::default()
        }
    }

    /// Whether there are such nodes: a service is nobody's contact, and never goes offline.
    ///
    /// # Errors
    ///
    /// There are none (§8.1.2).
    pub(super) fn suits(self, owner: &BareJid) -> Result<Self, StanzaError> {
        let is_of_contacts = matches!(self.access_model, AccessModel::Presence | AccessModel::Roster);
        if is_service(owner) && is_of_contacts {
            return Err(refused(ACCESS_MODEL));
        }
        if is_service(owner) && self.purge_offline {
            return Err(refused(PURGE_OFFLINE));
        }
        Ok(self)
    }

    /// The same with fields that we give ourselves, each with one value.
    pub(super) fn with_given(mut self, fields: &[(&str, &str)]) -> Self {
        for (name, value) in fields {
            if let Some(field) = FIELDS.iter().find(|field| field.name == *name) {
                let written = (field.write)(&mut self, &[(*value).to_owned()]);
                debug_assert!(written.is_some(), "{name} has no value {value}");
            }
        }
        self
    }

    /// §7.1.5, rule 3: a new node with what somebody requires of it.
    ///
    /// # Errors
    ///
    /// There are no nodes with one of these fields, or with such a value.
    pub(super) fn with_options(&self, options: &Submitted) -> Result<Self, StanzaError> {
        self.knows_all(options)?;
        self.with(options)
    }

    /// §7.1.5, rules 1 and 2: whether a node that is there is as somebody requires.
    ///
    /// # Errors
    ///
    /// It is not.
    pub(super) fn must_meet(&self, options: &Submitted) -> Result<(), StanzaError> {
        self.knows_all(options)?;
        let met = self.with(options).is_ok_and(|wanted| wanted == *self);
        if met { Ok(()) } else { Err(precondition_not_met()) }
    }

    #[expect(clippy::unused_self, reason = "both kinds of nodes have the same fields")]
    fn knows_all(&self, options: &Submitted) -> Result<(), StanzaError> {
        let is_known = |name: &str| {
            name == "FORM_TYPE"
                || name == xep0395_compare_and_publish::OPTION
                || FIELDS.iter().any(|field| field.name == name)
                || FIXED.iter().any(|(fixed, _)| *fixed == name)
        };
        if options.names().all(is_known) { Ok(()) } else { Err(precondition_not_met()) }
    }

    /// The form, of type `form` or `result`.
    pub(super) fn form(&self, kind: &'static str, owner: &BareJid) -> Element {
        let of_accounts = |name| is_service(owner) && OF_ACCOUNTS.contains(&name);
        let fields = FIELDS.iter().filter(|field| !of_accounts(field.name)).map(|field| {
            let values = (field.read)(self);
            let (shape, options) = match field.shape {
                Shape::Boolean => ("boolean", [].as_slice()),
                Shape::Choice(options) => ("list-single", options),
                Shape::Text => ("text-single", [].as_slice()),
                Shape::Texts => ("text-multi", [].as_slice()),
                Shape::Jids => ("jid-multi", [].as_slice()),
            };
            let options = options.iter().filter(|option| kind == "form" && !of_accounts(option));
            let options = options.map(|option| {
                let value = Element::builder("value", forms::NS).text(*option).build();
                Element::builder("option", forms::NS).child(value).build()
            });
            let field = forms::field(field.name, shape, values.iter().map(String::as_str))
                .to_builder()
                .attr_opt("label", Some(field.label).filter(|_| kind == "form"));
            field.children(options).build()
        });
        forms::form(kind, NS_CONFIG).children(fields).build()
    }

    /// What differs from the default, as it is stored.
    pub(super) fn stored(&self) -> Vec<Element> {
        let default = Self::default();
        let differs = FIELDS.iter().filter(|field| (field.read)(self) != (field.read)(&default));
        let stored = differs.map(|field| {
            let values = (field.read)(self);
            forms::field(field.name, "hidden", values.iter().map(String::as_str))
        });
        stored.collect()
    }

    /// Reads what [`Self::stored`] wrote.
    pub(super) fn of_stored<'a>(fields: impl Iterator<Item = &'a Element>) -> Self {
        let mut config = Self::default();
        for saved in fields {
            let field = FIELDS.iter().find(|field| saved.attr("var") == Some(field.name));
            let values = saved.children().map(|value| value.text().into_owned());
            if let Some(field) = field {
                _ = (field.write)(&mut config, &values.collect::<Vec<_>>());
            }
        }
        config
    }

    /// What a device may have of the node: one item that is replaced, or many.
    pub(super) fn is_singleton(&self) -> bool {
        self.max_items == 1
    }
}

fn refused(name: &str) -> StanzaError {
    if name == ACCESS_MODEL {
        return error(Condition::NotAcceptable, "unsupported-access-model"); // §8.1.2
    }
    not_acceptable("a value is not possible for this node")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn form(fields: &[(&str, &[&str])]) -> Submitted {
        let fields = fields.iter().map(|(name, values)| forms::field(name, "hidden", values.iter().copied()));
        let form = Element::builder("x", forms::NS).attr("type", "submit");
        let form = form.child(forms::field("FORM_TYPE", "hidden", [NS_CONFIG])).children(fields).build();
        Submitted::parse(&form, NS_CONFIG).unwrap()
    }

    #[test]
    fn values_that_nodes_have() {
        for (name, values, is_fine) in [
            ("pubsub#access_model", &["open"][..], true), // §16.4.4
            ("pubsub#access_model", &["whitelist"], true),
            ("pubsub#access_model", &["payment"], false),
            ("pubsub#access_model", &["open", "presence"], false),
            ("pubsub#access_model", &[], false),
            ("pubsub#max_items", &["max"], true),
            ("pubsub#max_items", &["10"], true),
            ("pubsub#max_items", &["99999999999"], true),
            ("pubsub#max_items", &["0"], false),
            ("pubsub#max_items", &["-1"], false),
            ("pubsub#max_items", &[""], false),
            ("pubsub#item_expire", &["604800"], true),
            ("pubsub#item_expire", &["max"], true),
            ("pubsub#item_expire", &["soon"], false),
            ("pubsub#persist_items", &["true"], true),
            ("pubsub#persist_items", &["0"], true),
            ("pubsub#persist_items", &["yes"], false),
            ("pubsub#node_type", &["leaf"], true),
            ("pubsub#node_type", &["collection"], false),
            ("pubsub#tempsub", &["1"], false),
            ("pubsub#contact", &["a@b", "c@d"], true),
            ("pubsub#contact", &["@@"], false),
            ("pubsub#title", &[], true),
            ("x-other", &["whatever"], true),
        ] {
            let config = Config::default().with(&form(&[(name, values)]));
            assert_eq!(config.is_ok(), is_fine, "{name} {values:?}");
        }
    }

    #[test]
    fn what_is_required_of_a_node() {
        let node = Config { max_items: ITEMS_MAX, access_model: AccessModel::Whitelist, ..Config::default() };
        for (fields, is_met) in [
            (&[("pubsub#access_model", &["whitelist"][..])][..], true), // §7.1.5
            (&[("pubsub#access_model", &["open"])], false),
            (&[("pubsub#max_items", &["max"])], true),
            (&[("pubsub#max_items", &["10000"])], true),
            (&[("pubsub#max_items", &["1"])], false),
            (&[("pubsub#persist_items", &["true"])], true),
            (&[("pubsub#persist_items", &["1"])], true),
            (&[("pubsub#persist_items", &["maybe"])], false),
            (&[("pubsub#unheard_of", &["1"])], false),
            (&[], true),
        ] {
            assert_eq!(node.must_meet(&form(fields)).is_ok(), is_met, "{fields:?}");
        }
        assert!(Config::default().with_options(&form(&[("pubsub#unheard_of", &["1"])])).is_err());
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let config = Config {
            title: "T < 1".into(),
            contact: vec!["a@b".into(), "c@d".into()],
            item_expire: Some(5),
            max_items: ITEMS_MAX,
            persist_items: false,
            send_last_published_item: SendLast::Never,
            ..Config::default()
        };
        let stored = config.stored();
        assert_eq!(stored.len(), 6);
        assert_eq!(Config::of_stored(stored.iter()), config);
        assert!(Config::default().stored().is_empty());
    }
}
