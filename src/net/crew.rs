//! The threads that work for the core.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;
use unisono_core::storage::BoxFuture;
use unisono_core::workers::{Credentials, NoCredentials, Workers};

use crate::sasl::{Password, fresh_keys};

/// See the module.
pub(crate) struct Crew {
    pub(crate) tasks: TaskTracker,
    pub(crate) hashing: Arc<Semaphore>,
}

impl Workers for Crew {
    fn carry_out(&self, work: BoxFuture<'static, ()>) {
        self.tasks.spawn(work);
    }

    fn credentials(&self, password: String) -> BoxFuture<'static, Result<Credentials, NoCredentials>> {
        let hashing = Arc::clone(&self.hashing);
        Box::pin(async move {
            let password = Password::prepare(&password)
                .map_err(|error| NoCredentials::Refused(format!("The {error}")))?;
            let _permit = hashing.acquire().await.map_err(|_| NoCredentials::Failed)?;
            let keys = tokio::task::spawn_blocking(move || fresh_keys(&password)).await;
            let keys = keys.ok().and_then(Result::ok).ok_or(NoCredentials::Failed)?;
            Ok(keys.iter().map(|keys| (keys.hash().family().to_owned(), keys.to_string())).collect())
        })
    }
}
