//! Invitations and reports, as the administration API speaks of them.

use serde::{Deserialize, Serialize};

/// What somebody is invited to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NewInvitation {
    /// The account that may be made, if no other: a bare JID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The domain of an account of any name; without it and an account, the first domain of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// The account here that becomes a contact: a bare JID.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// No account may be made: it is for a contact alone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub contact_only: bool,
    /// How long it can be used; without it, as long as the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in_seconds: Option<u32>,
}

/// An invitation that was not used yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationInfo {
    /// The secret in it.
    pub token: String,
    /// What a client opens.
    pub uri: String,
    /// A page for who has no client, where the configuration names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landing_url: Option<String>,
    /// The account that may be made, if no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The domain of the account that may be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
    /// Who becomes a contact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// The user who asked for it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Until when it can be used.
    pub expires_at: String,
}

/// Invitations, in the order of their tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvitationPage {
    /// Those of this page.
    pub invitations: Vec<InvitationInfo>,
    /// What to ask for with `after` to get the next page; none after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A message that was reported, as the archive of who reports it has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedMessage {
    /// When it came.
    pub at: String,
    /// Who sent it: a full JID.
    pub from: String,
    /// What it says; none where it is encrypted to the eye of the server, or too long to be kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// All of it, as XML.
    pub xml: String,
}

/// Who reports whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportInfo {
    /// Names the report.
    pub number: i64,
    /// When it came.
    pub at: String,
    /// Who reports: a bare JID.
    pub reporter: String,
    /// Who is reported.
    pub about: String,
    /// `spam` or `abuse`.
    pub reason: String,
    /// What the user says.
    pub texts: Vec<String>,
    /// What was sent.
    pub messages: Vec<ReportedMessage>,
    /// Messages that the report names and the archive does not have.
    pub missing: u32,
    /// The user agrees that the domain of the sender is told, …
    pub may_tell_origin: bool,
    /// … and others are.
    pub may_tell_others: bool,
}

/// Reports, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportPage {
    /// Those of this page.
    pub reports: Vec<ReportInfo>,
    /// What to ask for with `before` to get the next page; none after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
}
