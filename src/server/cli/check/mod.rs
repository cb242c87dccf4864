//! `unisono check`: whether a start would succeed, before it is tried.

mod certificates;
mod ports;
mod space;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use serde_json::json;

use super::admin::Admin;
use super::backend::Backend;
use super::client::{ApiClient, ConnectError};
use super::exit::Exit;
use super::failure::Failure;
use super::output::Report;
use super::run::{Context, other_owner};
use super::table::{count, table};
use crate::api::guard::Token;
use crate::api::types::VersionInfo;
use crate::config::{Config, Loaded, StoreUrl};

/// Check configuration, ports, certificates, data directory and database
#[derive(Debug, Args)]
pub(crate) struct Check {}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Ok,
    /// The server would start, but somebody should look at it.
    Warning,
    /// The server would not start, or clients could not use it.
    Problem,
}

/// What one look has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    status: Status,
    detail: String,
}

impl Finding {
    pub(super) fn ok(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, detail: detail.into() }
    }

    pub(super) fn warning(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Status::Warning, detail: detail.into() }
    }

    pub(super) fn problem(check: &'static str, detail: impl Into<String>) -> Self {
        Self { check, status: Status::Problem, detail: detail.into() }
    }
}

impl Check {
    /// Looks at everything, also when something is wrong already.
    pub(crate) async fn run(&self, context: &Context<'_>) -> Result<Report, Failure> {
        let Self {} = self;
        let loaded = context.load()?;
        let config = &loaded.config;
        let mut findings = vec![configuration(&loaded), user(config)];
        findings.extend(files(&loaded));
        findings.extend(loaded.file.as_deref().and_then(|file| secrecy(file, config)));
        findings.push(space::check(&config.server.data_dir));
        let (server, running) = running(config).await;
        findings.push(server);
        findings.extend(ports::check(config, running.as_ref()));
        findings.extend(admin_token(config));
        findings.extend(certificates::check(config));
        findings.push(store(config, context.backend, running.as_ref()).await);
        Ok(report(&findings))
    }
}

fn configuration(loaded: &Loaded) -> Finding {
    Finding::ok(
        "configuration",
        match &loaded.file {
            Some(file) => file.display().to_string(),
            None => "no file: the defaults, for localhost".to_owned(),
        },
    )
}

/// Who looks. The superuser may do what the server's own user may not, and finds everything right.
fn user(config: &Config) -> Finding {
    const CHECK: &str = "user";
    let user = rustix::process::geteuid();
    match other_owner(config) {
        Some((place, owner)) => Finding::warning(
            CHECK,
            format!(
                "the superuser, and {} belongs to another: what that one may do shows \
                 sudo -u '#{owner}' unisono check",
                place.display()
            ),
        ),
        None if user.is_root() => Finding::ok(CHECK, "the superuser; the server needs no such rights"),
        None => Finding::ok(CHECK, format!("number {}", user.as_raw())),
    }
}

fn files(loaded: &Loaded) -> Vec<Finding> {
    match loaded.check_files() {
        Ok(()) => Vec::new(),
        Err(error) => {
            error.problems().iter().map(|problem| Finding::problem("files", problem.to_string())).collect()
        }
    }
}

/// The address of a database may hold a password.
fn secrecy(file: &Path, config: &Config) -> Option<Finding> {
    let StoreUrl::Postgres(url) = &config.store.url else { return None };
    let is_open = fs::metadata(file).ok()?.mode() & 0o004 != 0;
    let is_there = fs::read_to_string(file).ok()?.contains(url);
    let has_password = url.contains("password=") || url.split('@').next()?.matches(':').count() > 1;
    let shown = file.display();
    (is_open && is_there && has_password).then(|| {
        let detail = format!("every user may read {shown}, and it holds a password: chmod o-r {shown}");
        Finding::warning("secrecy", detail)
    })
}

async fn running(config: &Config) -> (Finding, Option<VersionInfo>) {
    const CHECK: &str = "server";
    match ApiClient::connect(&config.admin.socket).await {
        Err(ConnectError::NoServer) => (Finding::ok(CHECK, "not running"), None),
        Err(error) => (Finding::warning(CHECK, error.to_string()), None),
        Ok(client) => match client.version().await {
            Ok(version) => {
                (Finding::ok(CHECK, format!("running, version {}", version.version)), Some(version))
            }
            Err(error) => (Finding::problem(CHECK, error.to_string()), None),
        },
    }
}

/// The token of the administration API, where a port offers that.
fn admin_token(config: &Config) -> Option<Finding> {
    const CHECK: &str = "admin token";
    config.admin.listen?;
    let file = &config.admin.token_file;
    Some(match Token::read(file) {
        Ok(Some(_)) => Finding::ok(CHECK, file.display().to_string()),
        Ok(None) => Finding::ok(CHECK, format!("{} will be made at the next start", file.display())),
        Err(error) => Finding::problem(CHECK, error.to_string()),
    })
}

async fn store(config: &Config, backend: &dyn Backend, running: Option<&VersionInfo>) -> Finding {
    const CHECK: &str = "database";
    let url = &config.store.url;
    if running.is_some() {
        return Finding::ok(CHECK, format!("{url}, in use by the running server"));
    }
    match backend.look_at_store(config).await {
        Ok(detail) => Finding::ok(CHECK, detail),
        Err(error) => Finding::problem(CHECK, format!("{url}: {error}")),
    }
}

fn report(findings: &[Finding]) -> Report {
    let with = |status: Status| findings.iter().filter(|finding| finding.status == status).count();
    let (problems, warnings) = (with(Status::Problem), with(Status::Warning));
    let row = |finding: &Finding| {
        let status = match finding.status {
            Status::Ok => "ok",
            Status::Warning => "warning",
            Status::Problem => "PROBLEM",
        };
        [status.to_owned(), finding.check.to_owned(), finding.detail.clone()]
    };
    let rows: Vec<_> = findings.iter().map(row).collect();
    let end = match (problems, warnings) {
        (0, 0) => "everything is right".to_owned(),
        (0, _) => count(warnings, "warning"),
        _ => format!("{}, {}", count(problems, "problem"), count(warnings, "warning")),
    };
    let text = format!("{}\n{end}", table(["STATUS", "CHECK", "DETAIL"], &rows));
    let json = json!({ "checks": findings, "problems": problems, "warnings": warnings });
    Report::answer(json, text).with_exit(if problems == 0 { Exit::Ok } else { Exit::Failed })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_password_is_not_for_everybody() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("unisono.toml");
        let (secret, open) = ("postgres://unisono:secret@localhost/unisono", "postgres:///unisono");
        let other = "postgres://localhost/unisono?password=secret";
        for (url, in_file, mode, warns) in [
            (secret, true, 0o644, true),
            (secret, true, 0o604, true),
            (other, true, 0o644, true),
            (secret, true, 0o640, false),
            (secret, true, 0o600, false),
            (secret, false, 0o644, false), // it comes from the environment
            (open, true, 0o644, false),
            ("postgres://unisono@localhost:5432/unisono", true, 0o644, false),
        ] {
            fs::write(&file, format!("[store]\nurl = \"{}\"\n", if in_file { url } else { "x" })).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            let mut config = Config::default();
            config.store.url = StoreUrl::Postgres(url.to_owned());
            let found = secrecy(&file, &config);
            assert_eq!(found.is_some(), warns, "{url} {mode:o}");
            assert!(found.is_none_or(|found| !found.detail.contains("secret@")), "{url}");
        }
    }

    #[test]
    fn only_a_problem_fails_the_check() {
        let ok = Finding::ok("a", "fine");
        let warning = Finding::warning("b", "look");
        let problem = Finding::problem("c", "no");
        for (findings, end, exit) in [
            (vec![ok.clone()], "everything is right", Exit::Ok),
            (vec![ok.clone(), warning.clone()], "1 warning", Exit::Ok),
            (vec![ok, warning, problem.clone(), problem], "2 problems, 1 warning", Exit::Failed),
        ] {
            let report = report(&findings);
            assert_eq!((report.text.lines().last(), report.exit), (Some(end), exit));
        }
    }
}
