//! What the layers with threads do for those without: to hash passwords, and to carry work to its end.

use std::sync::Arc;

use crate::hub::Hub;
use crate::storage::BoxFuture;

/// The credentials of a password: one text for each mechanism family, as [`crate::storage::Accounts`] keeps them.
pub type Credentials = Vec<(String, String)>;

/// Why there are no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoCredentials {
    /// The password is not allowed; why, in words for people.
    #[error("{0}")]
    Refused(String),
    #[error("keys cannot be derived")]
    Failed,
}

/// Threads, and what passwords become.
pub trait Workers: Send + Sync {
    /// Carries work to its end, whatever becomes of who asked for it.
    fn carry_out(&self, work: BoxFuture<'static, ()>);
    /// What is kept of a password. Takes milliseconds, so only a few are made at a time.
    fn credentials(&self, password: String) -> BoxFuture<'static, Result<Credentials, NoCredentials>>;
}

impl Hub {
    /// Says who works. Only the first counts.
    pub fn employ(&self, workers: Arc<dyn Workers>) {
        // Whoever comes second has the same trade.
        let _known = self.workers.set(workers);
    }

    /// What is kept of a password.
    ///
    /// # Errors
    ///
    /// The password is not allowed, or nobody works here.
    pub async fn credentials(&self, password: String) -> Result<Credentials, NoCredentials> {
        let workers = self.workers.get().ok_or(NoCredentials::Failed)?;
        workers.credentials(password).await
    }

    /// Carries work to its end, though the stream ends that asked for it, and tells what it came to. `None` if nobody
    /// works here, or the work failed.
    pub async fn carry_out<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = tokio::sync::oneshot::channel();
        self.workers.get()?.carry_out(Box::pin(async move {
            // Nobody may be left to hear it.
            let _heard = tell.send(work.await);
        }));
        told.await.ok()
    }
}
