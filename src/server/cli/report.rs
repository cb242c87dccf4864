//! `unisono report …`

use clap::{Args, Subcommand};
use serde_json::json;

use super::admin::Admin;
use super::failure::Failure;
use super::output::Report;
use super::run::{Context, Missing};
use crate::api::types::ReportInfo;

#[derive(Debug, Subcommand)]
pub(crate) enum Reported {
    /// Show what users reported when they blocked somebody, the newest first
    List,
    /// Forget a report
    Delete(Number),
}

#[derive(Debug, Args)]
pub(crate) struct Number {
    /// The number of the report
    number: i64,
}

impl Reported {
    /// Does it, on the running server or on the store.
    pub(crate) async fn run(self, context: &Context<'_>) -> Result<Report, Failure> {
        let missing = Missing::Tell;
        match self {
            Self::List => context.with_admin(missing, async |admin: &dyn Admin| list(admin).await).await,
            Self::Delete(Number { number }) => {
                let work = async |admin: &dyn Admin| Ok(admin.forget_report(number).await?);
                context.with_admin(missing, work).await?;
                Ok(Report::done(json!({ "number": number }), format!("report {number} forgotten")))
            }
        }
    }
}

async fn list(admin: &dyn Admin) -> Result<Report, Failure> {
    let mut reports: Vec<ReportInfo> = Vec::new();
    let mut before: Option<i64> = None;
    loop {
        let page = admin.reports(before, None).await?;
        reports.extend(page.reports);
        // A page that leads back would never end.
        if page.next.is_none() || before.is_some_and(|before| page.next >= Some(before)) {
            break;
        }
        before = page.next;
    }
    let text = if reports.is_empty() {
        "there are no reports".to_owned()
    } else {
        reports.iter().map(describe).collect::<Vec<_>>().join("\n\n")
    };
    Ok(Report::answer(json!({ "reports": reports }), text))
}

/// A report for people: who says what of whom, then what was sent.
fn describe(report: &ReportInfo) -> String {
    let ReportInfo { number, at, reporter, about, reason, texts, messages, missing, .. } = report;
    let mut lines = vec![format!("{number}  {at}  {reporter} reports {about} for {reason}")];
    lines.extend(texts.iter().map(|text| format!("  says: {}", printable(text))));
    for message in messages {
        let said = message.body.as_deref().map_or_else(|| "(no text)".to_owned(), printable);
        lines.push(format!("  {}  {}: {said}", message.at, printable(&message.from)));
    }
    if *missing > 0 {
        lines.push(format!("  {missing} more that the archive does not have"));
    }
    lines.join("\n")
}

/// Strangers wrote it: what could move the cursor of a terminal is shown, not sent.
fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::types::ReportedMessage;

    #[test]
    fn a_report_shows_what_was_sent_and_moves_no_cursor() {
        let message = |body: Option<&str>| ReportedMessage {
            at: "T2".to_owned(),
            from: "spam@example.net/x".to_owned(),
            body: body.map(str::to_owned),
            xml: String::new(),
        };
        let report = ReportInfo {
            number: 7,
            at: "T1".to_owned(),
            reporter: "alice@example.org".to_owned(),
            about: "spam@example.net".to_owned(),
            reason: "spam".to_owned(),
            texts: vec!["Never\u{1b}[2J".to_owned()],
            messages: vec![message(Some("Buy!")), message(None)],
            missing: 1,
            may_tell_origin: false,
            may_tell_others: false,
        };
        let want = "7  T1  alice@example.org reports spam@example.net for spam\n  says: Never\\u{1b}[2J\n  \
                    T2  spam@example.net/x: Buy!\n  T2  spam@example.net/x: (no text)\n  \
                    1 more that the archive does not have";
        assert_eq!(describe(&report), want);
    }
}
