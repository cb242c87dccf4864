//! What the command line needs of the rest, for real.

use std::cmp::Ordering;
use std::pin::Pin;

use rustix::fs::{Access, access};
use unisono_store::Look;

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
            if let StoreUrl::Sqlite(file) = &config.store.url {
                access(file, Access::READ_OK | Access::WRITE_OK)
                    .map_err(|_| "it is not open to this user, to read and to write".to_owned())?;
            }
            let look = unisono_store::look(&config.store.url.expose()).await;
            tell(&config.store.url, look.map_err(|error| format!("it cannot be opened: {error}"))?)
        })
    }
}

/// What will become of a database.
fn tell(url: &StoreUrl, look: Look) -> Result<String, String> {
    let Look { found, needed } = look;
    match found.cmp(&needed) {
        _ if found == 0 => Ok(format!("{url} is empty; the next start sets it up, with schema {needed}")),
        Ordering::Less => {
            Ok(format!("{url} has schema {found}; the next start migrates it to schema {needed}, for good"))
        }
        Ordering::Equal => Ok(format!("{url} can be used, schema {found}")),
        Ordering::Greater => Err(format!(
            "it has schema {found}, this program knows schemas up to {needed}: use a newer program"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_start_would_do_is_told() {
        let url = StoreUrl::Sqlite("a.db".into());
        let tell = |found| tell(&url, Look { found, needed: 3 });
        let own = str::to_owned;
        assert_eq!(tell(0), Ok(own("sqlite:a.db is empty; the next start sets it up, with schema 3")));
        let migrates = "sqlite:a.db has schema 2; the next start migrates it to schema 3, for good";
        assert_eq!(tell(2), Ok(own(migrates)));
        assert_eq!(tell(3), Ok(own("sqlite:a.db can be used, schema 3")));
        let newer = "it has schema 4, this program knows schemas up to 3: use a newer program";
        assert_eq!(tell(4), Err(own(newer)));
    }
}
