//! What the configuration points to on this machine.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

use super::keys::Config;
use super::load::Places;
use super::problem::Problem;

/// All problems with files and directories.
pub(crate) fn problems(config: &Config, places: &Places) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, certificate) in config.tls.certificate.iter().enumerate() {
        for (key, path) in [("cert", &certificate.cert), ("key", &certificate.key)] {
            if let Err(message) = readable(path) {
                problems.push(places.problem(&format!("tls.certificate[{index}].{key}"), &message));
            }
        }
    }
    for file in config.store.url.files() {
        if let Err(message) = readable(&file) {
            problems.push(places.problem("store.url", &message));
        }
    }
    if let Err(message) = writable_directory(&config.server.data_dir) {
        problems.push(places.problem("server.data_dir", &message));
    }
    problems
}

fn readable(path: &Path) -> Result<(), String> {
    let shown = path.display();
    let file = File::open(path).and_then(|file| file.metadata());
    match file {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(_) => Err(format!("{shown} is not a file")),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::NotFound => format!("there is no file {shown}"),
            io::ErrorKind::PermissionDenied => format!("{shown} is not readable for this user"),
            _ => format!("{shown} cannot be read: {error}"),
        }),
    }
}

/// The directory is writable, or can be created in the nearest one above it that exists.
fn writable_directory(path: &Path) -> Result<(), String> {
    let absolute = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let existing = absolute.ancestors().find(|above| above.exists()).unwrap_or(&absolute);
    if !existing.is_dir() {
        return Err(format!("{} is not a directory", existing.display()));
    }
    access(existing, Access::WRITE_OK | Access::EXEC_OK).map_err(|_| {
        if existing == absolute {
            format!("{} is not writable for this user", path.display())
        } else {
            format!(
                "{} cannot be created: {} is not writable for this user",
                path.display(),
                existing.display()
            )
        }
    })
}
