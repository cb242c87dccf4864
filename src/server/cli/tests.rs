//! Commands as they are typed, on a store in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::fs;
use std::num::NonZeroU32;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex};

use clap::Parser;
use tempfile::TempDir;
use unisono_core::jid::{BareJid, Jid};

use super::*;
use crate::api::types::{
    ApiError, DeviceList, DoctorReport, ErrorCode, InvitationInfo, InvitationPage, Kicked, Names,
    NewInvitation, ReportPage, Revoked, Secret, SessionList, UserInfo, UserPage, UserState, VersionInfo,
};
use crate::cli::backend::Local;
use crate::config::{Config, Loaded};

/// Accounts by their JID. Pages are of two, so that lists need several.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<BTreeMap<String, UserInfo>>>);

impl Memory {
    fn find(&self, jid: &BareJid) -> Result<UserInfo, ApiError> {
        let found = self.0.lock().unwrap().get(jid.as_str()).cloned();
        found.ok_or_else(|| ApiError::new(ErrorCode::NotFound, format!("there is no account {jid}")))
    }

    fn put(&self, jid: &str, state: UserState) -> UserInfo {
        let (jid, created_at) = (jid.to_owned(), "2026-11-22T00:00:00Z".to_owned());
        let user = UserInfo { jid: jid.clone(), state, created_at, devices: 1 };
        self.0.lock().unwrap().insert(jid, user.clone());
        user
    }
}

impl Admin for Memory {
    fn version(&self) -> Answer<'_, VersionInfo> {
        Box::pin(async { Err(ApiError::new(ErrorCode::NotFound, "no server is running")) })
    }

    fn users<'a>(&'a self, after: Option<&'a str>, _: Option<NonZeroU32>) -> Answer<'a, UserPage> {
        Box::pin(async move {
            let users = self.0.lock().unwrap();
            let rest = users.values().filter(|user| after.is_none_or(|after| user.jid.as_str() > after));
            let page: Vec<_> = rest.take(2).cloned().collect();
            let next = (page.len() == 2).then(|| page[1].jid.clone());
            Ok(UserPage { users: page, next })
        })
    }

    fn user<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, UserInfo> {
        Box::pin(async move { self.find(jid) })
    }

    fn add_user<'a>(&'a self, jid: &'a BareJid, _: &'a Secret, _: Names) -> Answer<'a, UserInfo> {
        Box::pin(async move { Ok(self.put(jid.as_str(), UserState::Enabled)) })
    }

    fn set_password<'a>(&'a self, jid: &'a BareJid, _: &'a Secret) -> Answer<'a, ()> {
        Box::pin(async move { self.find(jid).map(drop) })
    }

    fn set_state<'a>(&'a self, jid: &'a BareJid, state: UserState) -> Answer<'a, UserInfo> {
        Box::pin(async move { self.find(jid).map(|user| self.put(&user.jid, state)) })
    }

    fn delete_user<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, ()> {
        Box::pin(async move {
            self.0.lock().unwrap().remove(jid.as_str());
            Ok(())
        })
    }

    fn sessions<'a>(&'a self, _: Option<&'a BareJid>) -> Answer<'a, SessionList> {
        Box::pin(async { Ok(SessionList { sessions: Vec::new() }) })
    }

    fn kick<'a>(&'a self, jid: &'a Jid) -> Answer<'a, Kicked> {
        Box::pin(async move {
            self.find(&jid.to_bare())?;
            Ok(Kicked { sessions: if jid.is_full() { 1 } else { 2 } })
        })
    }

    fn devices<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, DeviceList> {
        Box::pin(async move { self.find(jid).map(|_| DeviceList { devices: Vec::new() }) })
    }

    fn revoke<'a>(&'a self, jid: &'a BareJid, id: &'a str) -> Answer<'a, Revoked> {
        Box::pin(async move {
            self.find(jid)?;
            Ok(Revoked { sessions: 1, knows_password: id == "known" })
        })
    }

    fn doctor<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, DoctorReport> {
        Box::pin(async move {
            self.find(jid).map(|user| DoctorReport { jid: user.jid, log_head: 0, devices: Vec::new() })
        })
    }

    fn invite<'a>(&'a self, new: &'a NewInvitation) -> Answer<'a, InvitationInfo> {
        Box::pin(async move { Ok(invitation("t0", new.account.as_deref())) })
    }

    fn invitations<'a>(
        &'a self,
        after: Option<&'a str>,
        _: Option<NonZeroU32>,
    ) -> Answer<'a, InvitationPage> {
        Box::pin(async move {
            let (token, next) = if after.is_none() { ("t1", Some("t1".to_owned())) } else { ("t2", None) };
            Ok(InvitationPage { invitations: vec![invitation(token, None)], next })
        })
    }

    fn withdraw<'a>(&'a self, token: &'a str) -> Answer<'a, ()> {
        let found = (token == "t1").then_some(());
        Box::pin(async move { found.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "no such invitation")) })
    }

    fn reports(&self, _: Option<i64>, _: Option<NonZeroU32>) -> Answer<'_, ReportPage> {
        Box::pin(async { Ok(ReportPage { reports: Vec::new(), next: None }) })
    }

    fn forget_report(&self, number: i64) -> Answer<'_, ()> {
        let found = (number == 7).then_some(());
        Box::pin(async move { found.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "no such report")) })
    }
}

fn invitation(token: &str, account: Option<&str>) -> InvitationInfo {
    InvitationInfo {
        token: token.to_owned(),
        uri: format!("xmpp:{}?register;preauth={token}", account.unwrap_or("example.org")),
        landing_url: None,
        account: account.map(str::to_owned),
        domain: Some("example.org".to_owned()),
        contact: None,
        by: None,
        expires_at: "2026-11-29T00:00:00Z".to_owned(),
    }
}

/// A server that is not running.
struct Fake {
    memory: Memory,
    served: Mutex<Option<Config>>,
    store: Result<String, String>,
}

impl Backend for Fake {
    fn serve(&self, loaded: Loaded) -> Result<(), Failure> {
        *self.served.lock().unwrap() = Some(loaded.config);
        Ok(())
    }

    fn open<'a>(&'a self, _: &'a Config) -> Local<'a, Result<Box<dyn Admin>, Failure>> {
        Box::pin(async { Ok(Box::new(self.memory.clone()) as Box<dyn Admin>) })
    }

    fn look_at_store<'a>(&'a self, _: &'a Config) -> Local<'a, Result<String, String>> {
        Box::pin(async { self.store.clone() })
    }
}

/// A folder with a configuration, and what a command line does in it.
struct Place {
    folder: TempDir,
    fake: Fake,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = "[listen]\nstarttls = [\"127.0.0.1:0\"]\ndirect_tls = []\n[metrics]\nlisten = \"off\"\n";
        fs::write(folder.path().join("unisono.toml"), text).unwrap();
        fs::create_dir(folder.path().join("unisono-data")).unwrap();
        fs::write(folder.path().join("unisono-data/unisono.db"), "").unwrap();
        let fake = Fake {
            memory: Memory::default(),
            served: Mutex::default(),
            store: Ok("an empty database".to_owned()),
        };
        Self { folder, fake }
    }

    /// Runs a command line with the configuration of this folder, or with the file that it names.
    fn run(&self, line: &str) -> Result<Report, Failure> {
        let file = self.folder.path().join("unisono.toml").display().to_string();
        let mut words = vec!["unisono", "--config", &file];
        if line.contains("--config") {
            words.truncate(1);
        }
        words.extend(line.split_whitespace());
        Cli::try_parse_from(words).unwrap().run(&self.fake)
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

#[test]
fn a_list_is_read_to_its_end() {
    let place = Place::new();
    for name in ["a", "b", "c", "d"] {
        place.fake.memory.put(&format!("{name}@localhost"), UserState::Enabled);
    }
    let report = place.run("user list").unwrap();
    assert_eq!(report.json["users"].as_array().unwrap().len(), 4);
    assert_eq!(report.text.lines().count(), 5);
    assert_eq!(report.text.lines().nth(4), Some("d@localhost  enabled  1        2026-11-22T00:00:00Z"));
    let empty = Place::new().run("user list").unwrap();
    assert_eq!(empty.text, "there are no accounts; `unisono user add JID` creates one");
}

#[test]
fn what_is_done_to_an_account_is_told() {
    let place = Place::new();
    place.fake.memory.put("a@localhost", UserState::Enabled);
    for (line, text) in [
        ("user disable a@localhost", "a@localhost disabled"),
        ("user enable a@localhost", "a@localhost enabled"),
        ("session list a@localhost", "there are no sessions"),
        ("session kick a@localhost/phone", "1 session of a@localhost/phone ended"),
        ("session kick a@localhost", "2 sessions of a@localhost ended"),
        ("device list a@localhost", "no device has logged in yet"),
        ("device revoke a@localhost x", "the access of x is taken back, 1 session ended"),
        (
            "device revoke a@localhost known",
            "the access of known is taken back, 1 session ended\n\
             It knows the password, and can come back until that is changed: `unisono user passwd a@localhost`",
        ),
        ("sync doctor a@localhost", "a@localhost, log head -\nno device has logged in yet"),
        ("user delete --yes a@localhost", "a@localhost deleted"),
    ] {
        assert_eq!(place.run(line).unwrap().text, text, "{line}");
    }
    for line in [
        "user disable a@localhost",
        "user enable a@localhost",
        "user delete -y a@localhost",
        "user passwd a@localhost --password-stdin",
        "session kick a@localhost",
        "sync doctor a@localhost",
        "device list a@localhost",
        "device revoke a@localhost x",
    ] {
        let failure = place.run(line).unwrap_err();
        assert_eq!((failure.exit, failure.code), (Exit::NotFound, "not_found"), "{line}");
    }
}

#[test]
fn a_wrong_configuration_stops_every_command_that_needs_it() {
    let place = Place::new();
    for line in ["serve", "check", "user list", "session list", "sync doctor a@localhost"] {
        let failure = place.run(&format!("{line} --set log.level=loud")).unwrap_err();
        assert_eq!((failure.exit, failure.code), (Exit::Usage, "configuration"), "{line}");
    }
    assert!(place.run("version --set log.level=loud").is_ok());
    assert!(place.run("completions bash --set log.level=loud").is_ok());
}

#[test]
fn serve_makes_the_data_directory_for_itself_alone() {
    let place = Place::new();
    let data_dir = place.path("deep/data");
    place.run(&format!("serve --set server.data_dir={data_dir}")).unwrap();
    let served = place.fake.served.lock().unwrap().take().unwrap();
    assert_eq!(served.server.data_dir.display().to_string(), data_dir);
    assert_eq!(fs::metadata(&data_dir).unwrap().permissions().mode() & 0o777, 0o700);
    let file = place.path("unisono.toml");
    let failure = place.run(&format!("serve --set server.data_dir={file}")).unwrap_err();
    let want = format!("--set server.data_dir: server.data_dir: {file} is not a directory");
    assert_eq!((failure.exit, failure.message), (Exit::Usage, want));
    assert_eq!(place.fake.served.lock().unwrap().take(), None);
}

#[test]
fn a_path_to_nowhere_does_not_look_like_an_empty_server() {
    let place = Place::new();
    let line = |command: &str| format!("{command} --set server.data_dir={}", place.path("nowhere"));
    for command in ["user list", "user enable a@localhost", "session list", "sync doctor a@localhost"] {
        let failure = place.run(&line(command)).unwrap_err();
        assert_eq!(failure.exit, Exit::NotFound, "{command}");
        assert!(failure.message.contains("is this the right configuration?"), "{failure}");
    }
    assert!(!fs::exists(place.path("nowhere")).unwrap());
}

#[test]
fn init_writes_a_file_once_and_every_command_can_read_it() {
    let place = Place::new();
    let file = place.path("new/unisono.toml");
    let line = format!("--config {file} init example.org --set limits.idle_timeout=1h");
    let report = place.run(&line).unwrap();
    assert!(
        report.text.contains(&format!("unisono --config {file} user add alice@example.org")),
        "{}",
        report.text
    );
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains("\ndomains = [\"example.org\"]\n"), "{written}");
    assert!(written.contains("\nidle_timeout = \"1h\"\n"), "{written}");
    let ports = "--set listen.starttls=127.0.0.1:0 --set listen.direct_tls=[] --set metrics.listen=off";
    assert_eq!(place.run(&format!("--config {file} check {ports}")).unwrap().exit, Exit::Ok);

    let failure = place.run(&format!("--config {file} init")).unwrap_err();
    let want = format!("{file} is already there; to replace it, add --force");
    assert_eq!((failure.exit, failure.message), (Exit::AlreadyExists, want));
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    place.run(&format!("--config {file} init other.example --force")).unwrap();
    assert!(fs::read_to_string(&file).unwrap().contains("\ndomains = [\"other.example\"]\n"));
}

#[test]
fn check_tells_of_everything_at_once() {
    let mut place = Place::new();
    let report = place.run("check").unwrap();
    assert_eq!(report.exit, Exit::Ok, "{}", report.text);
    let names = |report: &Report| -> Vec<String> {
        let checks = report.json["checks"].as_array().unwrap();
        checks.iter().map(|check| check["check"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["configuration", "user", "disk space", "server", "port", "certificate", "database"];
    assert_eq!(names(&report), all);
    place.fake.store = Err("cannot be opened".to_owned());
    let file = place.path("unisono.toml");
    let report = place.run(&format!("check --set server.data_dir={file}/x")).unwrap();
    assert_eq!((report.exit, &report.json["problems"]), (Exit::Failed, &2.into()), "{}", report.text);
    assert_eq!(report.text.lines().last(), Some("2 problems, 0 warnings"));
}

#[test]
fn the_superuser_does_not_touch_the_database_of_another_user() {
    let place = Place::new();
    let file = place.path("unisono.db");
    fs::write(&file, "").unwrap();
    let line = format!("user list --set store.url=sqlite:{file}");
    place.run(&line).unwrap();
    // Only the superuser can give a file away, and only the superuser is in danger.
    if fs::metadata(&file).unwrap().uid() == 0 {
        std::os::unix::fs::chown(&file, Some(4242), None).unwrap();
        let failure = place.run(&line).unwrap_err();
        assert_eq!(failure.exit, Exit::Failed);
        assert!(failure.message.contains("sudo -u '#4242' unisono"), "{failure}");

        // Nor where there is no database yet, in the place of that user.
        let place = Place::new();
        let data = place.path("theirs");
        fs::create_dir(&data).unwrap();
        std::os::unix::fs::chown(&data, Some(4242), None).unwrap();
        let line =
            format!("user add a@localhost --password-stdin --set store.url=sqlite:{data}/below/unisono.db");
        let failure = place.run(&line).unwrap_err();
        assert!(failure.message.contains(&format!("{data} belongs to another user")), "{failure}");
        let report = place.run(&format!("check --set store.url=sqlite:{data}/unisono.db")).unwrap();
        assert!(report.text.contains("sudo -u '#4242' unisono check"), "{}", report.text);
    }
}

#[test]
fn a_file_with_a_password_is_for_its_owner_alone() {
    let place = Place::new();
    let file = place.path("secret.toml");
    let mode = || fs::metadata(&file).unwrap().permissions().mode() & 0o777;
    let init = format!("--config {file} init --force --set store.url=postgres://me:geheim@db/unisono");
    let report = place.run(&init).unwrap();
    assert_eq!(mode(), 0o600);
    assert!(!report.text.contains("geheim"), "{}", report.text);
    let written = fs::read_to_string(&file).unwrap();
    assert!(written.contains("\nurl = \"postgres://me:geheim@db/unisono\"\n"), "{written}");
    // Also where the file was there, open to all.
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    place.run(&init).unwrap();
    assert_eq!(mode(), 0o600);
}
