//! What the administration API speaks: the requests and answers that server and command line share.
//!
//! | request | body | answer |
//! |---|---|---|
//! | `GET /v1/openapi.json` | | this table as an OpenAPI document |
//! | `GET /v1/version` | | [`VersionInfo`] |
//! | `GET /v1/users?after=JID&limit=N` | | [`UserPage`] |
//! | `POST /v1/users` | [`NewUser`] | 201, [`UserInfo`] |
//! | `GET /v1/users/{jid}` | | [`UserInfo`] |
//! | `PATCH /v1/users/{jid}` | [`UserChange`] | [`UserInfo`] |
//! | `DELETE /v1/users/{jid}` | | 204 |
//! | `PUT /v1/users/{jid}/password` | [`NewPassword`] | 204 |
//! | `GET /v1/users/{jid}/devices` | | [`DeviceList`] |
//! | `DELETE /v1/users/{jid}/devices/{id}` | | [`Revoked`] |
//! | `GET /v1/sessions?jid=JID` | | [`SessionList`] |
//! | `DELETE /v1/sessions?jid=JID` | | [`Kicked`] |
//! | `GET /v1/sync/{jid}` | | [`DoctorReport`] |
//! | `GET /v1/invitations?after=TOKEN&limit=N` | | [`InvitationPage`] |
//! | `POST /v1/invitations` | [`NewInvitation`] | 201, [`InvitationInfo`] |
//! | `DELETE /v1/invitations/{token}` | | 204 |
//! | `GET /v1/reports?before=N&limit=N` | | [`ReportPage`] |
//! | `DELETE /v1/reports/{number}` | | 204 |
//!
//! On a port, every request shows the token of the server (`Authorization: Bearer TOKEN`); see `guard.rs`.
//! A page has as many as `limit` says, and never more than [`USERS_MAX`] users or invitations, or [`REPORTS_MAX`] reports.
//! JIDs in a path or query are percent-encoded. Any other outcome is an [`ErrorBody`] with the status
//! of its code. Times are RFC 3339 in UTC. Readers ignore fields that they do not know.

use std::fmt;

use serde::{Deserialize, Serialize};

pub use super::desk_types::{
    InvitationInfo, InvitationPage, NewInvitation, ReportInfo, ReportPage, ReportedMessage,
};

/// Accounts of one page, unless fewer are asked for.
pub const USERS_MAX: u32 = 200;

/// Reports of one page, unless fewer are asked for: each may be long.
pub const REPORTS_MAX: u32 = 50;

/// A server that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionInfo {
    /// The version of the server.
    pub version: String,
    /// When the process started.
    pub started_at: String,
    /// The domains that it serves.
    pub domains: Vec<String>,
    /// What it listens for and where, with the ports that it really has: `starttls [::]:5222`.
    pub listen: Vec<String>,
}

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserState {
    /// It can log in.
    Enabled,
    /// It keeps its data and receives messages, but cannot log in.
    Disabled,
}

impl UserState {
    /// The word for it, as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// The bare JID.
    pub jid: String,
    /// Whether it can be used.
    pub state: UserState,
    /// When it was created.
    pub created_at: String,
    /// How many devices it has, connected or not.
    pub devices: u32,
}

/// Accounts, in the order of their JIDs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserPage {
    /// The accounts of this page.
    pub users: Vec<UserInfo>,
    /// What to ask for with `after` to get the next page; none after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// An account to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewUser {
    /// The bare JID.
    pub jid: String,
    /// Its password.
    pub password: Secret,
    /// Also a name that looks like that of another account, or mixes letters of several scripts.
    #[serde(default, skip_serializing_if = "Names::are_distinct")]
    pub allow_confusable: Names,
}

/// Which names an account may be created with; a `bool` on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(from = "bool", into = "bool")]
pub enum Names {
    /// Those that nobody takes for another one.
    #[default]
    Distinct,
    /// All that an address can have.
    Any,
}

impl Names {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the shape that serde wants")]
    fn are_distinct(&self) -> bool {
        *self == Self::Distinct
    }
}

impl From<bool> for Names {
    fn from(allow_confusable: bool) -> Self {
        if allow_confusable { Self::Any } else { Self::Distinct }
    }
}

impl From<Names> for bool {
    fn from(names: Names) -> Self {
        names == Names::Any
    }
}

/// A change of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserChange {
    /// The new state.
    pub state: UserState,
}

/// A new password. All sessions and tokens of the account end with the old one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPassword {
    /// The password.
    pub password: Secret,
}

/// Whether somebody is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceState {
    /// There is a connection.
    Connected,
    /// The connection is gone, the session waits to be resumed (XEP-0198).
    Detached,
    /// There is no session.
    Offline,
}

impl DeviceState {
    /// The word for it, as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Detached => "detached",
            Self::Offline => "offline",
        }
    }
}

/// What a session uses of XEP-0198.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StreamManagement {
    /// Nothing.
    Off,
    /// Acknowledgements.
    Acks,
    /// Acknowledgements and resumption.
    Resumable,
}

impl StreamManagement {
    /// The word for it, as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Acks => "acks",
            Self::Resumable => "resumable",
        }
    }
}

/// What a client said of the attention that it gets (XEP-0352).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientState {
    /// Somebody looks at it, or the client did not say otherwise.
    Active,
    /// Nobody looks at it.
    Inactive,
}

impl ClientState {
    /// The word for it, as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
        }
    }
}

/// A session: connected, or waiting to be resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionInfo {
    /// The bare JID of the account.
    pub jid: String,
    /// The bound resource.
    pub resource: String,
    /// What the device is recognised by.
    pub device: String,
    /// Connected or detached.
    pub state: DeviceState,
    /// Address and port of the client; of a detached session none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When this connection, or the last one, began.
    pub connected_at: String,
    /// Version and cipher of TLS, such as `TLSv1.3 TLS13_AES_256_GCM_SHA384`; none without TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    /// What it uses of XEP-0198.
    pub stream_management: StreamManagement,
    /// Active or inactive (XEP-0352).
    pub csi: ClientState,
    /// Whether it wants carbons (XEP-0280).
    pub carbons: bool,
    /// The priority of its presence; none before the first presence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i8>,
    /// Entries in its outbox: not sent yet, or not acknowledged.
    pub outbox: u64,
}

/// Sessions, in the order of their full JIDs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionList {
    /// The sessions.
    pub sessions: Vec<SessionInfo>,
}

/// Sessions that were ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kicked {
    /// How many.
    pub sessions: u32,
}

/// A device that has, or had, access to an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// How it is called here; nothing else can be done with it.
    pub id: String,
    /// What kind of name it is recognised by.
    pub kind: DeviceKind,
    /// What its client calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// What it is called itself; of an older client the resource.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// When it came first; none if that is older than what is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<String>,
    /// When it was last heard of.
    pub last_seen: String,
    /// Whether it is connected.
    pub state: DeviceState,
    /// The resource of its session, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Whether it has shown the password that the account has now.
    pub knows_password: bool,
    /// Whether it has a token to come back with (XEP-0484).
    pub has_token: bool,
}

/// The devices of an account, those that were seen last first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceList {
    /// The devices.
    pub devices: Vec<DeviceInfo>,
}

/// A device whose access was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// Its sessions that ended.
    pub sessions: u32,
    /// Whether it has shown the password: until that is changed, it can come back.
    pub knows_password: bool,
}

/// What a device is recognised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeviceKind {
    /// The id of its user agent (XEP-0388).
    UserAgent,
    /// The resource that it binds.
    Resource,
}

impl DeviceKind {
    /// The word for it, as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserAgent => "user_agent",
            Self::Resource => "resource",
        }
    }
}

/// How far a device is behind the log of its account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceReport {
    /// What the device is recognised by.
    pub device: String,
    /// What kind of name that is.
    pub kind: DeviceKind,
    /// The resource of its session, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Whether it is connected.
    pub state: DeviceState,
    /// The position up to which it acknowledged everything, in µs since 1970; 0 before all.
    pub cursor: i64,
    /// The last position of the log that concerns it.
    pub head: i64,
    /// Entries between cursor and head.
    pub gap: u64,
    /// Whether counting stopped at `gap`, so that there may be more.
    #[serde(default)]
    pub gap_is_more: bool,
    /// Whether it fetches by itself what it missed, so that nobody but itself knows how much of that it has.
    #[serde(default)]
    pub fetches: bool,
    /// Entries up to this position were purged by `archive.retention_days` before it acknowledged them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purged: Option<i64>,
    /// When it was last heard of.
    pub last_seen: String,
}

/// An account's log, and how far each device has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorReport {
    /// The bare JID.
    pub jid: String,
    /// The last position of the log, in µs since 1970; 0 in an empty log.
    pub log_head: i64,
    /// The devices.
    pub devices: Vec<DeviceReport>,
}

/// What kind of error it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request is wrong: no JID, a domain of somebody else, an empty password. 400.
    InvalidRequest,
    /// The request does not show the token, where it needs one. 401.
    Unauthorized,
    /// The request comes from where none is taken, such as a web page. 403.
    Forbidden,
    /// There is no such account, session or path. 404.
    NotFound,
    /// There is such an account already. 409.
    AlreadyExists,
    /// The store cannot be reached or written at the moment. 503.
    Unavailable,
    /// No server answers: never sent, only found by the client.
    Unreachable,
    /// Anything else. 500.
    #[serde(other)]
    Internal,
}

impl ErrorCode {
    /// The word for it, as it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::Unavailable => "unavailable",
            Self::Unreachable => "unreachable",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status that carries it.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::AlreadyExists => 409,
            Self::Unavailable | Self::Unreachable => 503,
            Self::Internal => 500,
        }
    }
}

/// Why a request failed. The message is a sentence fragment for people; it names no file, no SQL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
}

impl ApiError {
    /// An error of this kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The body of an answer that is an error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ApiError,
}

/// A password. It is sent as it is, and never shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps a password.
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// The password.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    #[test]
    fn words_are_those_that_are_sent() {
        fn sent<T: Serialize>(value: T) -> String {
            serde_json::to_value(value).unwrap().as_str().unwrap().to_owned()
        }
        for state in [UserState::Enabled, UserState::Disabled] {
            assert_eq!(sent(state), state.as_str());
        }
        for state in [DeviceState::Connected, DeviceState::Detached, DeviceState::Offline] {
            assert_eq!(sent(state), state.as_str());
        }
        for sm in [StreamManagement::Off, StreamManagement::Acks, StreamManagement::Resumable] {
            assert_eq!(sent(sm), sm.as_str());
        }
        for csi in [ClientState::Active, ClientState::Inactive] {
            assert_eq!(sent(csi), csi.as_str());
        }
        for kind in [DeviceKind::UserAgent, DeviceKind::Resource] {
            assert_eq!(sent(kind), kind.as_str());
        }
        for code in [
            ErrorCode::InvalidRequest,
            ErrorCode::Unauthorized,
            ErrorCode::Forbidden,
            ErrorCode::NotFound,
            ErrorCode::AlreadyExists,
            ErrorCode::Unavailable,
            ErrorCode::Unreachable,
            ErrorCode::Internal,
        ] {
            assert_eq!(sent(code), code.as_str());
        }
    }

    #[test]
    fn an_error_of_a_newer_server_is_still_an_error() {
        let body: ErrorBody =
            serde_json::from_str(r#"{"error":{"code":"too_hot","message":"no","since":1}}"#).unwrap();
        assert_eq!(body.error, ApiError::new(ErrorCode::Internal, "no"));
    }

    #[test]
    fn a_password_is_sent_but_not_shown() {
        let password = Secret::new("geheim");
        let user = NewUser { jid: "a@b".into(), password, allow_confusable: Names::Distinct };
        assert_eq!(serde_json::to_string(&user).unwrap(), r#"{"jid":"a@b","password":"geheim"}"#);
        assert!(!format!("{user:?}").contains("geheim"));
    }
}
