//! What extensions do without being asked: when the server runs again, and from time to time.

use std::sync::Arc;

use crate::extension::Registry;
use crate::hub::Hub;
use crate::storage::BoxFuture;

/// The server runs again: what the last run left undone is found.
pub type Begin = fn(Arc<Hub>) -> BoxFuture<'static, ()>;
/// About a second has passed.
pub type EachSecond = fn(&Arc<Hub>);

impl Registry {
    /// When the server runs again, beside all that it does, an extension looks for what the last run left undone. It may
    /// read the store, and take its time.
    pub fn begin(&mut self, handler: Begin) -> &mut Self {
        self.begin.push(handler);
        self
    }

    /// About once a second, no account is locked, an extension does what is due. It does not wait for anything.
    pub fn each_second(&mut self, handler: EachSecond) -> &mut Self {
        self.each_second.push(handler);
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
    pub(crate) fn work_on(self: &Arc<Self>) {
        self.registry.each_second.iter().for_each(|work| work(self));
    }
}
