//! What the command line needs of the rest, for real.

use std::pin::Pin;

use crate::api::local::LocalAdmin;
use crate::cli::{Admin, Backend, Failure};
use crate::config::{Config, Loaded, StoreUrl};
use crate::serve;

/// The server that this program is.
pub struct Wiring;

impl Backend for Wiring {
    fn serve(&self, loaded: Loaded) -> Result<(), Failure> {
        serve::serve(&loaded)
    }

    fn open<'a>(
        &'a self,
        config: &'a Config,
    ) -> Pin<Box<dyn Future<Output = Result<Box<dyn Admin>, Failure>> + 'a>> {
        Box::pin(async move {
            let hub = serve::open_hub(config).await?;
            Ok(Box::new(LocalAdmin::stopped(hub)) as Box<dyn Admin>)
        })
    }

    fn look_at_store<'a>(
        &'a self,
        config: &'a Config,
    ) -> Pin<Box<dyn Future<Output = Result<String, String>> + 'a>> {
        Box::pin(async move {
            if let StoreUrl::Sqlite(file) = &config.store.url
                && !file.exists()
            {
                return Ok(format!("{} will be made at the first start", file.display()));
            }
            let store =
                unisono_store::open(&config.store.url.expose()).await.map_err(|error| error.to_string())?;
            store.list(None, 1).await.map_err(|error| error.to_string())?;
            store.close().await;
            Ok(format!("{} can be used", config.store.url))
        })
    }
}
