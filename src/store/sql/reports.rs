//! What users report to the administrator.

use sqlx::{AnyConnection, Connection as _};
use unisono_core::reports::{Kept, Report, Reports};
use unisono_core::storage::{BoxFuture, StoreError};

use super::error::read_error;
use super::{SqlStore, accounts};
use crate::pack::storable;

impl Reports for SqlStore {
    fn report<'a>(&'a self, report: &'a Report, keep: Kept) -> BoxFuture<'a, Result<i64, StoreError>> {
        const KEEP: &str =
            "INSERT INTO report (at, reporter, about, content) VALUES ($1, $2, $3, $4) RETURNING id";
        const FORGET: &str =
            "DELETE FROM report WHERE id <= (SELECT id FROM report ORDER BY id DESC LIMIT 1 OFFSET $1)";
        const FORGET_OWN: &str = "DELETE FROM report WHERE reporter = $1 AND id <= \
            (SELECT id FROM report WHERE reporter = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)";
        Box::pin(self.shared.write(async move |connection| {
            let mut transaction = connection.begin().await.map_err(read_error)?;
            let kept = sqlx::query_scalar(KEEP)
                .bind(report.at)
                .bind(report.reporter.as_str())
                .bind(report.about.as_str())
                .bind(storable(&report.content).into_owned());
            let number = kept.fetch_one(&mut *transaction).await.map_err(read_error)?;
            let own = sqlx::query(FORGET_OWN).bind(report.reporter.as_str()).bind(i64::from(keep.of_one));
            own.execute(&mut *transaction).await.map_err(read_error)?;
            let forget = sqlx::query(FORGET).bind(i64::from(keep.in_all));
            forget.execute(&mut *transaction).await.map_err(read_error)?;
            transaction.commit().await.map_err(read_error)?;
            Ok(number)
        }))
    }

    fn reports(&self, before: Option<i64>, limit: usize) -> BoxFuture<'_, Result<Vec<Report>, StoreError>> {
        const LIST: &str = "SELECT id, at, reporter, about, content FROM report \
            WHERE id < $1 ORDER BY id DESC LIMIT $2";
        Box::pin(async move {
            let query = sqlx::query_as::<_, (i64, i64, String, String, String)>(LIST)
                .bind(before.unwrap_or(i64::MAX))
                .bind(i64::try_from(limit).unwrap_or(i64::MAX));
            let rows =
                async |connection: &mut AnyConnection| query.fetch_all(connection).await.map_err(read_error);
            let rows = self.shared.database.read(rows).await?;
            let report = |(number, at, reporter, about, content): (i64, i64, String, String, String)| {
                let about = about
                    .parse()
                    .map_err(|_| StoreError::Corrupt("a report about what is no address".to_owned()))?;
                Ok(Report { number, at, reporter: accounts::jid(&reporter)?, about, content })
            };
            rows.into_iter().map(report).collect()
        })
    }

    fn forget_report(&self, number: i64) -> BoxFuture<'_, Result<bool, StoreError>> {
        const FORGET: &str = "DELETE FROM report WHERE id = $1";
        Box::pin(self.shared.write(async move |connection| {
            let result = sqlx::query(FORGET).bind(number).execute(connection).await.map_err(read_error)?;
            Ok(result.rows_affected() > 0)
        }))
    }
}
