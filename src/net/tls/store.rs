//! The identities of all domains, and their replacement while the server runs.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::SystemTime,
};

use super::{
    certificate::{CertInfo, Validity, ascii_name, date, wildcard_for},
    files::{CertError, CertFiles, Stamp},
    identity::TlsIdentity,
};

/// All identities of a server. Handshakes only read it; a reload replaces all names at once.
#[derive(Debug)]
pub struct CertStore {
    serving: RwLock<Arc<Serving>>,
    entries: Mutex<Vec<Entry>>,
}

/// What one look at the files did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reload {
    /// Identities that were replaced.
    pub replaced: usize,
    /// Changed files that cannot be served; the old identity goes on.
    pub refused: usize,
}

/// An identity and where it comes from.
#[derive(Debug)]
struct Entry {
    source: Source,
    identity: Arc<TlsIdentity>,
}

#[derive(Debug)]
enum Source {
    Memory,
    Files {
        files: CertFiles,
        /// Of the files as they were when `identity` was read.
        stamp: Stamp,
        /// Why the files as they are now are not served; told once.
        refusal: Option<String>,
    },
}

/// Names to identities, as handshakes look them up.
#[derive(Debug)]
struct Serving {
    by_name: HashMap<String, Arc<TlsIdentity>>,
    /// For whoever names no domain, or one that is not here: the first.
    default: Arc<TlsIdentity>,
}

impl CertStore {
    /// Reads all files; the first are the default. A certificate that is not valid at `now` is served
    /// nevertheless, and logged: with it, clients can at least say what is wrong. Blocks on the disk.
    pub fn load(sources: Vec<CertFiles>, now: SystemTime) -> Result<Self, CertError> {
        let mut entries = Vec::with_capacity(sources.len());
        for files in sources {
            let stamp = files.stamp();
            let identity = Arc::new(files.load()?);
            if let Err(error) = files.check_dates(&identity, now) {
                tracing::warn!(%error, "serving a certificate that clients will refuse");
            }
            for domain in files.domains.iter().filter(|domain| !identity.info().covers(domain)) {
                tracing::warn!(domain, chain = %files.chain.display(), "certificate does not cover its domain");
            }
            entries.push(Entry { source: Source::Files { files, stamp, refusal: None }, identity });
        }
        Self::of_entries(entries)
    }

    /// One identity for all names, which never changes.
    pub fn of_identity(identity: TlsIdentity) -> Self {
        let entry = Entry { source: Source::Memory, identity: Arc::new(identity) };
        let serving = Serving { by_name: HashMap::new(), default: Arc::clone(&entry.identity) };
        Self { serving: RwLock::new(Arc::new(serving)), entries: Mutex::new(vec![entry]) }
    }

    fn of_entries(entries: Vec<Entry>) -> Result<Self, CertError> {
        let serving = Serving::of(&entries).ok_or(CertError::None)?;
        Ok(Self { serving: RwLock::new(Arc::new(serving)), entries: Mutex::new(entries) })
    }

    /// The identity for a connection: by the name in the handshake (SNI), else by `domain`, to which its
    /// stream was opened if that is known yet, else the default.
    pub fn select(&self, server_name: Option<&str>, domain: Option<&str>) -> Arc<TlsIdentity> {
        let serving = self.serving();
        let found = [server_name, domain].into_iter().flatten().find_map(|name| serving.find(name));
        Arc::clone(found.unwrap_or(&serving.default))
    }

    /// All identities in the order of their sources, for their dates and names.
    pub fn identities(&self) -> Vec<Arc<TlsIdentity>> {
        self.lock().iter().map(|entry| Arc::clone(&entry.identity)).collect()
    }

    /// When the first of all certificates expires.
    pub fn next_expiry(&self) -> Option<SystemTime> {
        self.lock().iter().map(|entry| entry.identity.info().not_after).min()
    }

    /// Looks at the files and replaces what changed, for connections from now on. Files that cannot be
    /// read, do not fit together, or hold a certificate that is not valid at `now` do not replace a valid
    /// one; they are tried again at the next call, and logged when the reason changes. Meant to be called
    /// every few seconds; blocks on the disk.
    pub fn reload_if_changed(&self, now: SystemTime) -> Reload {
        let mut entries = self.lock();
        let mut reload = Reload::default();
        for entry in entries.iter_mut() {
            match entry.renew(now) {
                Renewal::Unchanged => {}
                Renewal::Replaced => reload.replaced = reload.replaced.saturating_add(1),
                Renewal::Refused => reload.refused = reload.refused.saturating_add(1),
            }
        }
        if reload.replaced > 0
            && let Some(serving) = Serving::of(&entries)
        {
            *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(serving);
            for info in entries.iter().map(|entry| entry.identity.info()) {
                // Said when it is so: from here on connections get it.
                tracing::info!(names = ?info.names, until = date(info.not_after), "certificate replaced");
            }
        }
        reload
    }

    fn serving(&self) -> Arc<Serving> {
        Arc::clone(&self.serving.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Serving {
    /// `None` without any entry. A domain that the configuration names beats a name in a certificate,
    /// and the earlier entry beats the later one.
    fn of(entries: &[Entry]) -> Option<Self> {
        let mut by_name = HashMap::new();
        let configured = entries.iter().flat_map(|entry| entry.domains().map(move |name| (name, entry)));
        let certified = entries
            .iter()
            .flat_map(|entry| entry.identity.info().names.iter().map(move |name| (name, entry)));
        for (name, entry) in configured {
            if let Some(name) = ascii_name(name) {
                by_name.entry(name).or_insert_with(|| Arc::clone(&entry.identity));
            }
        }
        for (name, entry) in certified {
            by_name.entry(name.clone()).or_insert_with(|| Arc::clone(&entry.identity));
        }
        Some(Self { by_name, default: Arc::clone(&entries.first()?.identity) })
    }

    fn find(&self, name: &str) -> Option<&Arc<TlsIdentity>> {
        let name = ascii_name(name)?;
        self.by_name.get(&name).or_else(|| self.by_name.get(&wildcard_for(&name)?))
    }
}

enum Renewal {
    Unchanged,
    Replaced,
    Refused,
}

impl Entry {
    fn domains(&self) -> impl Iterator<Item = &String> {
        match &self.source {
            Source::Memory => [].iter(),
            Source::Files { files, .. } => files.domains.iter(),
        }
    }

    fn renew(&mut self, now: SystemTime) -> Renewal {
        let Source::Files { files, stamp, refusal } = &mut self.source else { return Renewal::Unchanged };
        // Taken before reading: what changes meanwhile is noticed the next time.
        let found = files.stamp();
        if found == *stamp {
            *refusal = None;
            return Renewal::Unchanged;
        }
        match successor(files, self.identity.info(), now) {
            Ok(identity) => {
                (*stamp, *refusal) = (found, None);
                self.identity = Arc::new(identity);
                Renewal::Replaced
            }
            Err(error) => {
                let reason = error.to_string();
                if refusal.as_ref() != Some(&reason) {
                    tracing::error!(error = reason, "changed certificate refused, the old one goes on");
                    *refusal = Some(reason);
                }
                Renewal::Refused
            }
        }
    }
}

/// What the files hold now, if it may take the place of `current`.
fn successor(files: &CertFiles, current: &CertInfo, now: SystemTime) -> Result<TlsIdentity, CertError> {
    let identity = files.load()?;
    if current.validity(now) == Validity::Valid {
        files.check_dates(&identity, now)?;
    }
    let info = identity.info();
    for domain in files.domains.iter().filter(|domain| current.covers(domain) && !info.covers(domain)) {
        tracing::warn!(domain, chain = %files.chain.display(), "new certificate no longer covers its domain");
    }
    Ok(identity)
}

#[cfg(test)]
mod tests;
