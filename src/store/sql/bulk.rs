//! One statement for many rows.

use std::fmt::Write as _;
use std::sync::{Arc, OnceLock};

use sqlx::any::AnyArguments;
use sqlx::query::Query;
use sqlx::{Any, AnyConnection};

use super::database::{Kind, composed};

/// A query that waits for its values, which it owns.
pub(super) type Binding = Query<'static, Any, AnyArguments>;

/// How many rows a statement may have. A limited number of sizes, so that the statements stay prepared; the
/// small ones without a gap, so that a small batch is one statement.
const SIZES: [usize; 24] =
    [256, 192, 128, 96, 64, 48, 40, 32, 28, 24, 20, 18, 16, 14, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1];

/// Bytes of values that a statement may have beside its first row. PostgreSQL takes 1 GiB in one message of its
/// protocol, and what is bound is held in memory as a whole.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// A statement with a list of rows in it: `head ($1, $2), ($3, $4) tail`.
pub(super) struct Bulk {
    /// Parameters in the head.
    first: usize,
    head: &'static str,
    columns: usize,
    tail: &'static str,
    texts: [[OnceLock<Arc<str>>; SIZES.len()]; 2],
}

impl Bulk {
    pub(super) const fn new(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self::with(0, head, columns, tail)
    }

    /// The same with one parameter in the head, where it is `$1`, once.
    pub(super) const fn after_one(head: &'static str, columns: usize, tail: &'static str) -> Self {
        Self::with(1, head, columns, tail)
    }

    const fn with(first: usize, head: &'static str, columns: usize, tail: &'static str) -> Self {
        let texts = [const { [const { OnceLock::new() }; SIZES.len()] }; 2];
        Self { first, head, columns, tail, texts }
    }

    /// Runs the statement for all rows, in as few steps as possible. Returns how many rows it changed.
    pub(super) async fn run<T>(
        &self,
        connection: &mut AnyConnection,
        kind: Kind,
        rows: &[T],
        bind: impl Fn(Binding, &T) -> Binding,
    ) -> sqlx::Result<u64> {
        self.run_filled(connection, kind, |query| query, rows, bind).await
    }

    /// The same for a statement with a parameter in its head.
    pub(super) async fn run_after_one<T>(
        &self,
        connection: &mut AnyConnection,
        kind: Kind,
        first: i64,
        rows: &[T],
        bind: impl Fn(Binding, &T) -> Binding,
    ) -> sqlx::Result<u64> {
        self.run_filled(connection, kind, |query| query.bind(first), rows, bind).await
    }

    async fn run_filled<T>(
        &self,
        connection: &mut AnyConnection,
        kind: Kind,
        bind_first: impl Fn(Binding) -> Binding,
        mut rows: &[T],
        bind: impl Fn(Binding, &T) -> Binding,
    ) -> sqlx::Result<u64> {
        let mut changed: u64 = 0;
        while let Some((size, now, later)) = next_step(rows) {
            // Bound: all values of the rows; the text has their number only.
            let query = bind_first(sqlx::query(composed(self.text(kind, size))));
            let result = now.iter().fold(query, &bind).execute(&mut *connection).await?;
            changed = changed.saturating_add(result.rows_affected());
            rows = later;
        }
        Ok(changed)
    }

    /// The same for rows that can be large.
    pub(super) async fn run_large<T>(
        &self,
        connection: &mut AnyConnection,
        kind: Kind,
        mut rows: &[T],
        bytes: impl Fn(&T) -> usize,
        bind: impl Fn(Binding, &T) -> Binding,
    ) -> sqlx::Result<u64> {
        let mut changed: u64 = 0;
        while let Some((now, later)) =
            rows.split_at_checked(fitting(rows, &bytes)).filter(|(now, _)| !now.is_empty())
        {
            changed = changed.saturating_add(self.run(&mut *connection, kind, now, &bind).await?);
            rows = later;
        }
        Ok(changed)
    }

    /// Whether these rows take one statement.
    pub(super) fn is_one_statement<T>(rows: &[T], bytes: impl Fn(&T) -> usize) -> bool {
        SIZES.contains(&rows.len()) && fitting(rows, &bytes) == rows.len()
    }

    fn text(&self, kind: Kind, size: usize) -> Arc<str> {
        let texts = match kind {
            Kind::Sqlite => self.texts.first(),
            Kind::Postgres => self.texts.last(),
        };
        let compose = || Arc::from(self.compose(kind, SIZES.get(size).copied().unwrap_or(1)));
        texts.and_then(|texts| texts.get(size)).map_or_else(compose, |text| text.get_or_init(compose).clone())
    }

    /// SQLite looks for the name of each parameter in a list, at each execution, so it gets nameless ones.
    pub(super) fn compose(&self, kind: Kind, rows: usize) -> String {
        let mut text = match kind {
            Kind::Sqlite if self.first > 0 => self.head.replace("$1", "?"),
            _ => String::from(self.head),
        };
        for row in 0..rows {
            text.push_str(if row == 0 { "(" } else { ", (" });
            for column in 0..self.columns {
                text.push_str(if column == 0 { "" } else { ", " });
                let number = row.saturating_mul(self.columns).saturating_add(column).saturating_add(1);
                let number = number.saturating_add(self.first);
                let _ = match kind {
                    Kind::Sqlite => text.write_char('?'),
                    Kind::Postgres => write!(text, "${number}"),
                };
            }
            text.push(')');
        }
        text.push_str(self.tail);
        text
    }
}

/// How many of the first rows a statement takes by their size; at least one.
fn fitting<T>(rows: &[T], bytes: &impl Fn(&T) -> usize) -> usize {
    let mut all = 0_usize;
    let fits = |(place, row): (usize, &T)| {
        all = all.saturating_add(bytes(row));
        place == 0 || all <= BYTES_MAX
    };
    rows.iter().enumerate().map(fits).take_while(|fits| *fits).count()
}

/// The place of the next size in [`SIZES`], the rows that it takes, and the rest.
fn next_step<T>(rows: &[T]) -> Option<(usize, &[T], &[T])> {
    let place = SIZES.iter().position(|size| *size <= rows.len())?;
    let (now, later) = rows.split_at_checked(*SIZES.get(place)?)?;
    Some((place, now, later))
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
    fn each_database_gets_its_parameters() {
        static BULK: Bulk = Bulk::new("INSERT INTO t (a, b) VALUES ", 2, " ON CONFLICT DO NOTHING");
        let two = SIZES.iter().position(|size| *size == 2).unwrap();
        assert_eq!(
            &*BULK.text(Kind::Postgres, two),
            "INSERT INTO t (a, b) VALUES ($1, $2), ($3, $4) ON CONFLICT DO NOTHING"
        );
        assert_eq!(
            &*BULK.text(Kind::Sqlite, two),
            "INSERT INTO t (a, b) VALUES (?, ?), (?, ?) ON CONFLICT DO NOTHING"
        );
    }

    #[test]
    fn a_parameter_may_come_before_the_rows() {
        static BULK: Bulk = Bulk::after_one("SELECT $1 FROM (VALUES ", 2, ") AS v");
        let two = SIZES.iter().position(|size| *size == 2).unwrap();
        assert_eq!(&*BULK.text(Kind::Postgres, two), "SELECT $1 FROM (VALUES ($2, $3), ($4, $5)) AS v");
        assert_eq!(&*BULK.text(Kind::Sqlite, two), "SELECT ? FROM (VALUES (?, ?), (?, ?)) AS v");
    }

    #[test]
    fn a_statement_has_an_end() {
        let (small, large, huge) = (1, BYTES_MAX / 3, 10 * BYTES_MAX);
        for (rows, count) in [
            (vec![], 0),
            (vec![small], 1),
            (vec![small; 1000], 1000),
            (vec![large; 5], 3),
            (vec![huge, small], 1),
            (vec![small, huge], 1),
            (vec![large, small, large, small, large, small], 4),
        ] {
            assert_eq!(fitting(&rows, &|row| *row), count, "{rows:?}");
            let is_one = Bulk::is_one_statement(&rows, |row| *row);
            assert_eq!(is_one, count == rows.len() && SIZES.contains(&count), "{rows:?}");
        }
    }

    #[test]
    fn the_steps_take_every_row_once_and_in_order() {
        for rows in 0..1000 {
            let all: Vec<usize> = (0..rows).collect();
            let (mut rest, mut taken) = (all.as_slice(), Vec::new());
            while let Some((size, now, later)) = next_step(rest) {
                assert_eq!(now.len(), SIZES[size]);
                taken.extend_from_slice(now);
                rest = later;
            }
            assert_eq!(taken, all);
        }
    }
}
