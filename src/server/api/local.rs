//! Administration, done: on the hub of the running server, or on one that was opened on the store for a command.

use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;

use unisono_core::account::{Account, Cell};
use unisono_core::datetime::format_utc;
use unisono_core::devices;
use unisono_core::doctor::DeviceHealth;
use unisono_core::error::StreamCondition;
use unisono_core::hub::Hub;
use unisono_core::jid::{BareJid, Jid};
use unisono_core::session::Session;
use unisono_core::storage::{AccountState, AccountSummary, StoreError};
use unisono_net::sasl::{Password, fresh_keys};

use super::desk;
use super::types::{
    ApiError, ClientState, DeviceInfo, DeviceKind, DeviceList, DeviceReport, DeviceState, DoctorReport,
    ErrorCode, InvitationInfo, InvitationPage, Kicked, Names, NewInvitation, REPORTS_MAX, ReportPage,
    Revoked, Secret, SessionInfo, SessionList, StreamManagement, USERS_MAX, UserInfo, UserPage, UserState,
    VersionInfo,
};
use crate::cli::{Admin, Answer, say};

/// What to do where a name is refused.
const CONFUSABLE: &str = "`--allow-confusable`, or `allow_confusable` in a request, lets it in";

/// What a running server says of itself.
#[derive(Clone, Debug, Default)]
pub struct Running {
    /// Microseconds since 1970.
    pub started_at: i64,
    /// The addresses that it listens at.
    pub listen: Vec<String>,
}

/// Which way a request came to a running server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The socket, whose access rights say who that may be.
    Socket,
    /// The port, by whoever has the token.
    Port,
}

impl By {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Socket => "socket",
            Self::Port => "port",
        }
    }
}

/// Administration on a hub.
#[derive(Clone)]
pub struct LocalAdmin {
    hub: Arc<Hub>,
    running: Option<(Running, By)>,
}

impl LocalAdmin {
    /// On the hub of a running server.
    pub fn running(hub: Arc<Hub>, running: Running, by: By) -> Self {
        Self { hub, running: Some((running, by)) }
    }

    /// On the store of a server that does not run.
    pub fn stopped(hub: Arc<Hub>) -> Self {
        Self { hub, running: None }
    }

    /// Tells the log of a change that was made. The command line tells the terminal.
    fn note(&self, account: &BareJid, change: &'static str) {
        if let Some((_, by)) = &self.running {
            tracing::info!(%account, by = by.as_str(), change, "an account was administered");
        }
    }

    /// Who asks learns what he can act on. The store's own words go to the log; where there is none, to who asks.
    #[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
    fn refused(&self, error: StoreError) -> ApiError {
        match error {
            StoreError::NotFound => ApiError::new(ErrorCode::NotFound, "not there"),
            StoreError::Exists | StoreError::Alike(_) => {
                ApiError::new(ErrorCode::AlreadyExists, "there already")
            }
            StoreError::Reserved => {
                ApiError::new(ErrorCode::AlreadyExists, "an invitation keeps the name free")
            }
            StoreError::Unavailable(_) | StoreError::Corrupt(_) if self.running.is_none() => {
                ApiError::new(ErrorCode::Unavailable, format!("the store cannot be used: {error}"))
            }
            StoreError::Unavailable(_) | StoreError::Corrupt(_) => {
                tracing::error!(%error, "cannot use the store");
                let text = "the store cannot be used, the log of the server says why";
                ApiError::new(ErrorCode::Unavailable, text)
            }
        }
    }

    async fn summary(&self, jid: &BareJid) -> Result<AccountSummary, ApiError> {
        self.hub.store.summary(jid).await.map_err(|error| self.refused(error))?.ok_or_else(|| unknown(jid))
    }

    /// An account is not loaded to be shown: there may be very many.
    fn info(&self, summary: &AccountSummary) -> UserInfo {
        let loaded = self.hub.resident(&summary.jid).map(|cell| cell.lock().devices().len());
        UserInfo {
            jid: summary.jid.to_string(),
            state: match summary.state {
                AccountState::Enabled => UserState::Enabled,
                AccountState::Disabled => UserState::Disabled,
            },
            created_at: format_utc(summary.created_at).into(),
            devices: loaded.map_or(summary.devices, |count| u32::try_from(count).unwrap_or(u32::MAX)),
        }
    }

    async fn cell(&self, jid: &BareJid) -> Result<Arc<Cell>, ApiError> {
        self.hub.account(jid).await.map_err(|error| self.refused(error))?.ok_or_else(|| unknown(jid))
    }

    async fn stored(&self, jid: &BareJid) -> Result<Arc<Cell>, ApiError> {
        self.hub.stored(jid).await.map_err(|error| self.refused(error))?.ok_or_else(|| unknown(jid))
    }

    async fn credentials(&self, password: &Secret) -> Result<Vec<(String, String)>, ApiError> {
        let wrong = |error: String| ApiError::new(ErrorCode::InvalidRequest, error);
        let password = Password::prepare(password.expose()).map_err(|error| wrong(error.to_string()))?;
        // Key derivation takes milliseconds; the threads that serve streams do not wait for it.
        let keys = tokio::task::spawn_blocking(move || fresh_keys(&password)).await;
        let keys = keys.ok().and_then(Result::ok);
        let keys = keys.ok_or_else(|| ApiError::new(ErrorCode::Internal, "keys cannot be derived"))?;
        Ok(keys.iter().map(|keys| (keys.hash().family().to_owned(), keys.to_string())).collect())
    }
}

impl Admin for LocalAdmin {
    fn version(&self) -> Answer<'_, VersionInfo> {
        Box::pin(async {
            let running = self.running.as_ref();
            let (running, _) =
                running.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "no server is running"))?;
            Ok(VersionInfo {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: format_utc(running.started_at).into(),
                domains: self.hub.settings.domains.iter().map(ToString::to_string).collect(),
                listen: running.listen.clone(),
            })
        })
    }

    fn users<'a>(&'a self, after: Option<&'a str>, limit: Option<NonZeroU32>) -> Answer<'a, UserPage> {
        Box::pin(async move {
            let after = after.map(parse_bare).transpose()?;
            let limit = limit.map_or(USERS_MAX, |limit| limit.get().min(USERS_MAX)) as usize;
            let page =
                self.hub.store.list(after.as_ref(), limit).await.map_err(|error| self.refused(error))?;
            let next = (page.len() == limit).then(|| page.last().map(|user| user.jid.to_string())).flatten();
            Ok(UserPage { users: page.iter().map(|summary| self.info(summary)).collect(), next })
        })
    }

    fn user<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, UserInfo> {
        Box::pin(async move { Ok(self.info(&self.summary(jid).await?)) })
    }

    fn add_user<'a>(&'a self, jid: &'a BareJid, password: &'a Secret, names: Names) -> Answer<'a, UserInfo> {
        Box::pin(async move {
            if jid.local().is_none() {
                return Err(ApiError::new(
                    ErrorCode::InvalidRequest,
                    format!("{jid} has no name before the @"),
                ));
            }
            if !self.hub.serves(jid.domain()) {
                let text = format!("{} is not a domain of this server", jid.domain());
                return Err(ApiError::new(ErrorCode::InvalidRequest, text));
            }
            if names == Names::Distinct && jid.mixes_scripts() {
                let text = format!("the name of {jid} mixes letters of several scripts ({CONFUSABLE})");
                return Err(ApiError::new(ErrorCode::InvalidRequest, text));
            }
            let credentials = self.credentials(password).await?;
            let now = self.hub.clock.now_micros();
            let store = &self.hub.store;
            let created = match names {
                Names::Distinct => store.create_distinct(jid, &credentials, now).await,
                Names::Any => store.create(jid, &credentials, now).await,
            };
            created.map_err(|error| match error {
                StoreError::Exists => {
                    ApiError::new(ErrorCode::AlreadyExists, format!("{jid} is there already"))
                }
                StoreError::Alike(other) => {
                    let text = format!("{jid} looks like {other}, which is there already ({CONFUSABLE})");
                    ApiError::new(ErrorCode::AlreadyExists, text)
                }
                other => self.refused(other),
            })?;
            self.note(jid, "added");
            self.user(jid).await
        })
    }

    fn set_password<'a>(&'a self, jid: &'a BareJid, password: &'a Secret) -> Answer<'a, ()> {
        Box::pin(async move {
            let cell = self.cell(jid).await?;
            let credentials = self.credentials(password).await?;
            let changed = self.hub.store.set_credentials(jid, &credentials).await;
            self.hub.password_changed(&cell, changed.map_err(|error| self.refused(error))?);
            self.note(jid, "password changed");
            Ok(())
        })
    }

    fn set_state<'a>(&'a self, jid: &'a BareJid, state: UserState) -> Answer<'a, UserInfo> {
        Box::pin(async move {
            self.summary(jid).await?;
            let cell = self.cell(jid).await?;
            let state = match state {
                UserState::Enabled => AccountState::Enabled,
                UserState::Disabled => AccountState::Disabled,
            };
            // Also before it is enabled again, in case that a crash came in between.
            self.hub.store.wait(self.hub.end_tokens(&cell)).await;
            self.hub.store.set_state(jid, state).await.map_err(|error| self.refused(error))?;
            self.hub.state_changed(&cell, state);
            self.note(jid, if state == AccountState::Enabled { "enabled" } else { "disabled" });
            self.user(jid).await
        })
    }

    fn delete_user<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, ()> {
        Box::pin(async move {
            self.summary(jid).await?;
            let cell = self.cell(jid).await?;
            self.hub.remove_account(&cell).await.map_err(|error| self.refused(error))?;
            self.note(jid, "deleted");
            Ok(())
        })
    }

    fn sessions<'a>(&'a self, jid: Option<&'a BareJid>) -> Answer<'a, SessionList> {
        Box::pin(async move {
            let cells = match jid {
                Some(jid) if self.running.is_none() => self.summary(jid).await.map(|_| Vec::new())?,
                Some(jid) => vec![self.cell(jid).await?],
                None => self.hub.residents(),
            };
            let mut sessions = Vec::new();
            for cell in cells {
                let account = cell.lock();
                sessions.extend(account.sessions().map(|session| describe(&account, session)));
            }
            sessions.sort_by(|a, b| (&a.jid, &a.resource).cmp(&(&b.jid, &b.resource)));
            Ok(SessionList { sessions })
        })
    }

    fn kick<'a>(&'a self, jid: &'a Jid) -> Answer<'a, Kicked> {
        Box::pin(async move {
            let cell = self.cell(&jid.to_bare()).await?;
            let sessions = match jid.resource() {
                None => self.hub.end_sessions(&cell, &StreamCondition::PolicyViolation),
                Some(resource) => {
                    let id = cell.lock().resource(resource).map(Session::id);
                    if let Some(id) = id {
                        self.hub.end_with(&cell, id, Some(StreamCondition::PolicyViolation));
                    }
                    usize::from(id.is_some())
                }
            };
            if sessions == 0 {
                return Err(ApiError::new(ErrorCode::NotFound, format!("{jid} has no session")));
            }
            self.note(&cell.jid, "kicked");
            Ok(Kicked { sessions: u32::try_from(sessions).unwrap_or(u32::MAX) })
        })
    }

    fn devices<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, DeviceList> {
        Box::pin(async move {
            let cell = match &self.running {
                Some(_) => self.cell(jid).await?,
                None => self.stored(jid).await?,
            };
            Ok(DeviceList { devices: self.hub.devices(&cell).into_iter().map(device).collect() })
        })
    }

    fn revoke<'a>(&'a self, jid: &'a BareJid, id: &'a str) -> Answer<'a, Revoked> {
        Box::pin(async move {
            let cell = self.cell(jid).await?;
            let device = self.hub.devices(&cell).into_iter().find(|device| device.id == id);
            let device = device.ok_or_else(|| {
                ApiError::new(ErrorCode::NotFound, format!("{jid} has no device with the id \"{id}\""))
            })?;
            let (sessions, ticket) =
                self.hub.end_device(&cell, device.device, &StreamCondition::NotAuthorized);
            self.hub.store.wait(ticket).await;
            self.note(&cell.jid, "access of a device taken back");
            let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
            Ok(Revoked { sessions, knows_password: device.has_password })
        })
    }

    fn doctor<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, DoctorReport> {
        Box::pin(async move {
            let cell = match &self.running {
                Some(_) => self.cell(jid).await?,
                // To look changes nothing: saved sessions stay saved.
                None => self.stored(jid).await?,
            };
            let (head, devices) = self.hub.doctor(&cell).await.map_err(|error| self.refused(error))?;
            let devices = devices.into_iter().map(|health| report(health, head.0)).collect();
            Ok(DoctorReport { jid: jid.to_string(), log_head: head.0, devices })
        })
    }

    fn invite<'a>(&'a self, new: &'a NewInvitation) -> Answer<'a, InvitationInfo> {
        Box::pin(async move {
            let invitation = desk::invitation(&self.hub, new)?;
            if let Some(inviter) = &invitation.inviter {
                self.summary(inviter).await?;
            }
            self.hub.store.invite(&invitation).await.map_err(|error| match (&invitation.account, error) {
                (Some(account), StoreError::Alike(other)) => {
                    let text = format!("{account} looks like {other}, which is there already");
                    ApiError::new(ErrorCode::AlreadyExists, text)
                }
                (Some(account), StoreError::Exists) => {
                    ApiError::new(ErrorCode::AlreadyExists, format!("{account} is there already"))
                }
                (_, error) => self.refused(error),
            })?;
            Ok(desk::info(&self.hub, &invitation))
        })
    }

    fn invitations<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: Option<NonZeroU32>,
    ) -> Answer<'a, InvitationPage> {
        Box::pin(async move {
            let (count, now) = (desk::count(limit, USERS_MAX), self.hub.clock.now_micros());
            let found = self.hub.store.invitations(None, after, count, now).await;
            Ok(desk::page(&self.hub, &found.map_err(|error| self.refused(error))?, limit))
        })
    }

    fn withdraw<'a>(&'a self, token: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let was_there = self.hub.store.redeem(token).await.map_err(|error| self.refused(error))?;
            was_there
                .then_some(())
                .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such invitation"))
        })
    }

    fn reports(&self, before: Option<i64>, limit: Option<NonZeroU32>) -> Answer<'_, ReportPage> {
        Box::pin(async move {
            let found = self.hub.store.reports(before, desk::count(limit, REPORTS_MAX)).await;
            Ok(desk::report_page(&found.map_err(|error| self.refused(error))?, limit))
        })
    }

    fn forget_report(&self, number: i64) -> Answer<'_, ()> {
        Box::pin(async move {
            let forgotten = self.hub.store.forget_report(number).await;
            let was_there = forgotten.map_err(|error| self.refused(error))?;
            was_there
                .then_some(())
                .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such report"))
        })
    }

    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {
            if self.running.is_none() {
                // Sessions that wait to be resumed were taken up with their accounts.
                for problem in crate::serve::save(&self.hub).await {
                    say(&format!("{problem}\n"));
                }
            }
        })
    }
}

fn describe(account: &Account, session: &Session) -> SessionInfo {
    let connection = session.connection();
    let device = account.device(session.device());
    SessionInfo {
        jid: account.jid().to_string(),
        resource: session.jid().resource().to_owned(),
        device: device.map(|device| device.key.to_string()).unwrap_or_default(),
        state: if session.is_connected() { DeviceState::Connected } else { DeviceState::Detached },
        address: connection.map(|connection| connection.address.clone()),
        connected_at: format_utc(
            connection.map_or_else(|| device.map_or(0, |device| device.last_seen), |c| c.since),
        )
        .into(),
        tls: connection.map(|connection| connection.tls.clone()).filter(|tls| !tls.is_empty()),
        stream_management: match (session.is_managed(), session.is_resumable()) {
            (false, _) => StreamManagement::Off,
            (true, false) => StreamManagement::Acks,
            (true, true) => StreamManagement::Resumable,
        },
        csi: if session.is_inactive() { ClientState::Inactive } else { ClientState::Active },
        carbons: session.wants_carbons(),
        priority: session.is_available().then(|| session.priority()),
        outbox: session.queued() as u64,
    }
}

fn device(device: devices::DeviceInfo) -> DeviceInfo {
    let seen = |at| format_utc(at).to_string();
    DeviceInfo {
        id: device.id.into(),
        kind: if device.resource.is_none() { DeviceKind::UserAgent } else { DeviceKind::Resource },
        software: device.software.map(Into::into),
        name: device.name.or(device.resource).map(Into::into),
        first_seen: device.first_seen.map(seen),
        last_seen: seen(device.last_seen),
        state: state(device.session.as_ref().map(|(_, is_connected)| *is_connected)),
        resource: device.session.map(|(resource, _)| resource.into()),
        knows_password: device.has_password,
        has_token: device.has_token,
    }
}

/// Of a session that is connected or not, or of none.
fn state(session: Option<bool>) -> DeviceState {
    match session {
        None => DeviceState::Offline,
        Some(true) => DeviceState::Connected,
        Some(false) => DeviceState::Detached,
    }
}

fn report(health: DeviceHealth, head: i64) -> DeviceReport {
    let DeviceHealth { device, session, gap, gap_is_more, purged } = health;
    DeviceReport {
        device: device.key.to_string(),
        kind: if device.is_named() { DeviceKind::UserAgent } else { DeviceKind::Resource },
        state: state(session.as_ref().map(|(_, is_connected)| *is_connected)),
        resource: session.map(|(resource, _)| resource),
        cursor: device.cursor.0,
        head,
        gap,
        gap_is_more,
        fetches: device.pages_archive,
        purged: purged.map(|purged| purged.0),
        last_seen: format_utc(device.last_seen).into(),
    }
}

fn parse_bare(text: &str) -> Result<BareJid, ApiError> {
    let jid = text.parse().map_err(|error| {
        ApiError::new(ErrorCode::InvalidRequest, format!("\"{text}\" is not a JID: {error}"))
    })?;
    Ok(jid)
}

fn unknown(jid: &BareJid) -> ApiError {
    ApiError::new(ErrorCode::NotFound, format!("there is no account {jid}"))
}
