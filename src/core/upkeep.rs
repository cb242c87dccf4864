//! What extensions do without being asked: when the server runs again, and from time to time.

use std::sync::Arc;

use crate::extension::Registry;
use crate::hub::Hub;
use crate::storage::BoxFuture;

/// The server runs again: what the last run left undone is found.
pub type Begin = fn(Arc<Hub>) -> BoxFuture<'static, ()>;
/// What is due is done.
pub type Sweep = fn(&Arc<Hub>, Moment);

/// When an extension is called to do what is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// It comes again in about a second.
    Now,
    /// The server stops: connections have ended, and what is queued for devices is about to be saved.
    Last,
}

impl Registry {
    /// When the server runs again, beside all that it does, an extension looks for what the last run left undone. It may
    /// read the store, and take its time.
    pub fn begin(&mut self, handler: Begin) -> &mut Self {
        self.begin.push(handler);
        self
    }

    /// About once a second, no account is locked, an extension does what is due. It does not wait for anything.
    pub fn sweep(&mut self, handler: Sweep) -> &mut Self {
        self.sweep.push(handler);
        self
    }
}

impl Hub {
    /// Lets extensions find what the last run left undone. To be called once, after [`Self::restore`]; nobody has to wait
    /// for it.
    pub async fn begin(self: &Arc<Self>) {
        for begin in &self.registry.begin {
            begin(self.clone()).await;
        }
    }

    /// Lets extensions do what is due.
    pub(crate) fn work_on(self: &Arc<Self>, moment: Moment) {
        self.registry.sweep.iter().for_each(|handler| handler(self, moment));
    }
}
