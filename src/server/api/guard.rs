//! Who may use the API on a port: whoever has the token, and no web page.
//!
//! The socket is guarded by its access rights. A port of the loopback interface is open to every user of the machine
//! and, through their browsers, to every web page that they look at: so a request needs a token that stands in a file
//! for the server's own user, it names a loopback host (else a name under the control of an attacker that leads here
//! would do), and comes from no page of another origin.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use super::router::Failed;
use super::types::{ApiError, ErrorCode};

/// Characters of a token that somebody chose. With less it might be guessed.
const CHARS_MIN: usize = 32;
/// Bytes of a file that are looked at. What is longer is no token.
const FILE_BYTES_MAX: u64 = 4096;

/// What a request has to show (RFC 6750 §2.1).
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Box<str>);

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A new one cannot be kept.
    #[error("cannot write the token {}: {error}", .path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the token {}: {error}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// Others may have read it.
    #[error("the token {} is open to other users: without the file, the next start makes another", .0.display())]
    Open(PathBuf),
    /// It is too short, or has characters that a token cannot have.
    #[error(
        "{} does not hold a token: {CHARS_MIN} or more letters, digits and -._~+/=; without the file, the next \
         start makes one",
        .0.display()
    )]
    Form(PathBuf),
}

impl Token {
    /// The token in a file. `None` if there is no such file.
    pub fn read(path: &Path) -> Result<Option<Self>, TokenError> {
        let cannot = |error| TokenError::Read { path: path.to_owned(), error };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(cannot)?,
        };
        if file.metadata().map_err(cannot)?.mode() & 0o077 != 0 {
            return Err(TokenError::Open(path.to_owned()));
        }
        let mut text = String::new();
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(cannot)?;
        Self::parse(text.trim_end()).map(Some).ok_or_else(|| TokenError::Form(path.to_owned()))
    }

    /// The token in a file, which is made where there is none; and whether it was.
    pub fn read_or_make(path: &Path) -> Result<(Self, bool), TokenError> {
        if let Some(token) = Self::read(path)? {
            return Ok((token, false));
        }
        let cannot = |error| TokenError::Write { path: path.to_owned(), error };
        let token = Self::draw().map_err(|error| cannot(io::Error::other(error)))?;
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(cannot)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| {
            writeln!(file, "{}", token.0)?;
            file.sync_all()
        });
        written.map_err(cannot)?;
        Ok((token, true))
    }

    fn draw() -> Result<Self, getrandom::Error> {
        let half = || {
            let mut drawn = [0; 16];
            getrandom::fill(&mut drawn).map(|()| u128::from_be_bytes(drawn))
        };
        Ok(Self(format!("{:032x}{:032x}", half()?, half()?).into()))
    }

    /// RFC 6750 §2.1, `b64token`.
    fn parse(text: &str) -> Option<Self> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        (text.len() >= CHARS_MIN && text.bytes().all(is_token)).then(|| Self(text.into()))
    }

    /// Whether a header `Authorization` shows it. How long that takes tells its length and nothing else.
    fn is_shown(&self, authorization: &HeaderValue) -> bool {
        let mut parts = authorization.as_bytes().splitn(2, |byte| *byte == b' ');
        let (Some(scheme), Some(shown)) = (parts.next(), parts.next()) else { return false };
        let is_equal = verify_slices_are_equal(shown.trim_ascii(), self.0.as_bytes()).is_ok();
        scheme.eq_ignore_ascii_case(b"bearer") && is_equal
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The API behind the guard, for a listener at `address`.
pub fn guarded(api: Router, token: Token, address: SocketAddr) -> Router {
    api.layer(from_fn_with_state(Arc::new(Guard { token, port: address.port() }), pass))
}

struct Guard {
    token: Token,
    port: u16,
}

async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    match guard.check(request.headers()) {
        Ok(()) => next.run(request).await,
        Err(error) => {
            let asks = error.code == ErrorCode::Unauthorized;
            metrics::counter!("unisono_admin_refusals_total", "code" => error.code.as_str()).increment(1);
            tracing::debug!(%error, "a request to the administration API is refused");
            let mut response = Failed(error).into_response();
            if asks {
                // RFC 9110 §11.6.1
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

impl Guard {
    fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let refuse = |code, message| Err(ApiError::new(code, message));
        let Some(host) = only(headers, &header::HOST).and_then(|host| host.to_str().ok()) else {
            return refuse(ErrorCode::InvalidRequest, "the request names no host");
        };
        if !self.is_ours(host) {
            return refuse(ErrorCode::Forbidden, "the request is for another host");
        }
        // A browser says from which page a request comes; programs say nothing.
        let own = format!("http://{host}");
        if headers.get_all(header::ORIGIN).iter().any(|origin| origin.as_bytes() != own.as_bytes()) {
            return refuse(ErrorCode::Forbidden, "the request comes from a page of another origin");
        }
        match only(headers, &header::AUTHORIZATION) {
            Some(shown) if self.token.is_shown(shown) => Ok(()),
            _ => refuse(ErrorCode::Unauthorized, "the request does not show the token"),
        }
    }

    /// Whether a host is this machine under a name that nobody else can give, with our port.
    fn is_ours(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else { return false };
        let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        port.parse() == Ok(self.port) && (is_loopback || name.eq_ignore_ascii_case("localhost"))
    }
}

/// The value of a header that may stand there once.
fn only<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a HeaderValue> {
    let mut all = headers.get_all(name).iter();
    all.next().filter(|_| all.next().is_none())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TOKEN: &str = "0123456789abcdef0123456789ABCDEF-._~+/=";

    fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data/token");
        assert_eq!(Token::read(&path).unwrap(), None);
        let (made, is_new) = Token::read_or_make(&path).unwrap();
        assert!(is_new && made.0.len() == 64);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Token::read_or_make(&path).unwrap(), (made.clone(), false));
        let other = Token::read_or_make(&folder.path().join("other")).unwrap().0;
        assert_ne!(made, other);
        assert_eq!(format!("{made:?}"), "Token(…)");
    }

    /// THREATS, "weak tokens": each bit of a token is drawn, and none twice.
    #[test]
    fn a_token_cannot_be_guessed() {
        let mut ones = [0_u32; 256];
        let mut all = std::collections::HashSet::new();
        for _ in 0..1_000 {
            let Token(text) = Token::draw().unwrap();
            for (index, digit) in text.chars().enumerate() {
                let digit = digit.to_digit(16).unwrap();
                (0..4).for_each(|bit| ones[4 * index + bit] += digit >> bit & 1);
            }
            assert!(all.insert(text));
        }
        // Six standard deviations of a coin that is tossed a thousand times.
        assert!(ones.iter().all(|ones| (405..=595).contains(ones)), "{ones:?}");
    }

    #[test]
    fn a_file_that_holds_no_token_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        for (text, mode, want) in [
            (format!("{TOKEN}\n"), 0o640, "is open to other users"),
            (format!("{TOKEN}\n"), 0o602, "is open to other users"),
            (String::new(), 0o600, "does not hold a token"),
            ("short".to_owned(), 0o600, "does not hold a token"),
            (format!("{TOKEN} {TOKEN}"), 0o600, "does not hold a token"),
            (format!("{TOKEN}\u{e9}"), 0o600, "does not hold a token"),
        ] {
            fs::write(&path, &text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Token::read_or_make(&path).unwrap_err().to_string();
            assert!(error.contains(want) && !error.contains(TOKEN), "{text:?} {mode:o}: {error}");
        }
        let inside = path.join("token");
        assert!(matches!(Token::read_or_make(&inside), Err(TokenError::Read { .. })));
    }

    #[test]
    fn a_request_passes_by_host_origin_and_token_together() {
        let guard = Guard { token: Token::parse(TOKEN).unwrap(), port: 9523 };
        let (ours, right) = ("localhost:9523", &format!("Bearer {TOKEN}"));
        let passes = |list: &[_]| guard.check(&headers(list)).map_err(|error| error.code);
        for host in [ours, "127.0.0.1:9523", "127.8.8.8:9523", "[::1]:9523", "LocalHost:9523"] {
            assert_eq!(passes(&[("host", host), ("authorization", right)]), Ok(()), "{host}");
        }
        let bearer = format!("bearer  {TOKEN} "); // RFC 9110 §11.1: the scheme knows no case
        assert_eq!(passes(&[("host", ours), ("authorization", &bearer)]), Ok(()));
        let same = ("origin", "http://localhost:9523");
        assert_eq!(passes(&[("host", ours), ("authorization", right), same]), Ok(()));
        for host in [
            "localhost",
            "localhost:80",
            "evil.example:9523",
            "localhost.evil.example:9523",
            "192.0.2.1:9523",
            "[::]:9523",
            "[::1]",
            ":9523",
            "",
        ] {
            let got = passes(&[("host", host), ("authorization", right)]);
            assert_eq!(got, Err(ErrorCode::Forbidden), "{host}");
        }
        for origin in ["http://evil.example", "https://localhost:9523", "http://127.0.0.1:9523", "null", ""] {
            let got = passes(&[("host", ours), ("authorization", right), ("origin", origin)]);
            assert_eq!(got, Err(ErrorCode::Forbidden), "{origin}");
        }
        let doubled = [("host", ours), ("host", ours), ("authorization", right)];
        assert_eq!(passes(&doubled), Err(ErrorCode::InvalidRequest));
        assert_eq!(passes(&[("authorization", right)]), Err(ErrorCode::InvalidRequest));
        let (longer, shorter) = (format!("{right}0"), &right[..right.len() - 1]);
        for wrong in ["", "Bearer", "Bearer ", TOKEN, "Basic YTpi", &longer, shorter] {
            let got = passes(&[("host", ours), ("authorization", wrong)]);
            assert_eq!(got, Err(ErrorCode::Unauthorized), "{wrong}");
        }
        assert_eq!(passes(&[("host", ours)]), Err(ErrorCode::Unauthorized));
        let twice = [("host", ours), ("authorization", right), ("authorization", right)];
        assert_eq!(passes(&twice), Err(ErrorCode::Unauthorized));
    }
}
