//! The HTTP API over the Unix socket of a running server.

use std::io;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use unisono_core::jid::{BareJid, Jid};

use super::admin::{Admin, Answer};
use crate::api::types::{
    ApiError, DeviceList, DoctorReport, ErrorBody, ErrorCode, InvitationInfo, InvitationPage, Kicked, Names,
    NewInvitation, NewPassword, NewUser, ReportPage, Revoked, Secret, SessionList, UserChange, UserInfo,
    UserPage, UserState, VersionInfo,
};

/// A server that does not answer for so long has a problem of its own.
const TIMEOUT: Duration = Duration::from_secs(60);
/// An answer is held in memory as a whole.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A running server.
#[derive(Debug, Clone)]
pub struct ApiClient {
    socket: PathBuf,
}

/// Why a server cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No process listens there.
    #[error("no server is running")]
    NoServer,
    /// The socket is not for this user, so there is no telling whether a server runs.
    #[error(
        "{} is not open to this user; run this command as the user of the server, or with sudo",
        .0.display()
    )]
    Forbidden(PathBuf),
    /// Anything else.
    #[error("cannot connect to {}: {error}", .socket.display())]
    Other {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl ApiClient {
    /// Finds out whether a server runs that listens at this socket.
    pub async fn connect(socket: &Path) -> Result<Self, ConnectError> {
        match UnixStream::connect(socket).await {
            Ok(_) => Ok(Self { socket: socket.to_owned() }),
            Err(error) => Err(match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::ConnectionRefused => {
                    ConnectError::NoServer
                }
                io::ErrorKind::PermissionDenied => ConnectError::Forbidden(socket.to_owned()),
                _ => ConnectError::Other { socket: socket.to_owned(), error },
            }),
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: String) -> Result<T, ApiError> {
        parse(&self.request(Method::GET, path, Vec::new()).await?)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: String,
        body: &impl Serialize,
    ) -> Result<T, ApiError> {
        parse(&self.request(method, path, json(body)?).await?)
    }

    /// The body of the answer, if it is no error.
    async fn request(&self, method: Method, path: String, body: Vec<u8>) -> Result<Bytes, ApiError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))?;
        let answer = tokio::time::timeout(TIMEOUT, self.exchange(request)).await;
        let (status, body) = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(no_answer(&format!("the server broke off: {error}"))),
            Err(_) => return Err(no_answer("the server does not answer; its log may say why")),
        };
        if status.is_success() {
            return Ok(body);
        }
        Err(serde_json::from_slice::<ErrorBody>(&body).map_or_else(|_| unknown(status), |body| body.error))
    }

    async fn exchange(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
        let stream = UnixStream::connect(&self.socket).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let answer = async {
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await?.to_bytes();
            Ok((status, body))
        };
        tokio::select! {
            answer = answer => answer,
            Err(error) = connection => Err(error.into()),
        }
    }
}

impl Admin for ApiClient {
    fn version(&self) -> Answer<'_, VersionInfo> {
        Box::pin(self.get("/v1/version".to_owned()))
    }

    fn users<'a>(&'a self, after: Option<&'a str>, limit: Option<NonZeroU32>) -> Answer<'a, UserPage> {
        Box::pin(self.get(page_path("/v1/users", after.map(|after| ("after", after)), limit)))
    }

    fn user<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, UserInfo> {
        Box::pin(self.get(user_path(jid)))
    }

    fn add_user<'a>(&'a self, jid: &'a BareJid, password: &'a Secret, names: Names) -> Answer<'a, UserInfo> {
        Box::pin(async move {
            let user = NewUser { jid: jid.to_string(), password: password.clone(), allow_confusable: names };
            self.send(Method::POST, "/v1/users".to_owned(), &user).await
        })
    }

    fn set_password<'a>(&'a self, jid: &'a BareJid, password: &'a Secret) -> Answer<'a, ()> {
        Box::pin(async move {
            let body = json(&NewPassword { password: password.clone() })?;
            let path = format!("{}/password", user_path(jid));
            self.request(Method::PUT, path, body).await.map(|_| ())
        })
    }

    fn set_state<'a>(&'a self, jid: &'a BareJid, state: UserState) -> Answer<'a, UserInfo> {
        Box::pin(async move { self.send(Method::PATCH, user_path(jid), &UserChange { state }).await })
    }

    fn delete_user<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, ()> {
        Box::pin(async move { self.request(Method::DELETE, user_path(jid), Vec::new()).await.map(|_| ()) })
    }

    fn sessions<'a>(&'a self, jid: Option<&'a BareJid>) -> Answer<'a, SessionList> {
        let query = jid.map(|jid| format!("?jid={}", encode(jid.as_str()))).unwrap_or_default();
        Box::pin(self.get(format!("/v1/sessions{query}")))
    }

    fn kick<'a>(&'a self, jid: &'a Jid) -> Answer<'a, Kicked> {
        Box::pin(async move {
            let path = format!("/v1/sessions?jid={}", encode(jid.as_str()));
            parse(&self.request(Method::DELETE, path, Vec::new()).await?)
        })
    }

    fn devices<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, DeviceList> {
        Box::pin(self.get(format!("{}/devices", user_path(jid))))
    }

    fn revoke<'a>(&'a self, jid: &'a BareJid, id: &'a str) -> Answer<'a, Revoked> {
        Box::pin(async move {
            let path = format!("{}/devices/{}", user_path(jid), encode(id));
            parse(&self.request(Method::DELETE, path, Vec::new()).await?)
        })
    }

    fn doctor<'a>(&'a self, jid: &'a BareJid) -> Answer<'a, DoctorReport> {
        Box::pin(self.get(format!("/v1/sync/{}", encode(jid.as_str()))))
    }

    fn invite<'a>(&'a self, new: &'a NewInvitation) -> Answer<'a, InvitationInfo> {
        Box::pin(self.send(Method::POST, "/v1/invitations".to_owned(), new))
    }

    fn invitations<'a>(
        &'a self,
        after: Option<&'a str>,
        limit: Option<NonZeroU32>,
    ) -> Answer<'a, InvitationPage> {
        Box::pin(self.get(page_path("/v1/invitations", after.map(|after| ("after", after)), limit)))
    }

    fn withdraw<'a>(&'a self, token: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let path = format!("/v1/invitations/{}", encode(token));
            self.request(Method::DELETE, path, Vec::new()).await.map(|_| ())
        })
    }

    fn reports(&self, before: Option<i64>, limit: Option<NonZeroU32>) -> Answer<'_, ReportPage> {
        let before = before.map(|before| before.to_string());
        let before = before.as_deref().map(|before| ("before", before));
        Box::pin(self.get(page_path("/v1/reports", before, limit)))
    }

    fn forget_report(&self, number: i64) -> Answer<'_, ()> {
        Box::pin(async move {
            let path = format!("/v1/reports/{number}");
            self.request(Method::DELETE, path, Vec::new()).await.map(|_| ())
        })
    }
}

/// A page of a list, from where the last one ended.
fn page_path(path: &str, from: Option<(&str, &str)>, limit: Option<NonZeroU32>) -> String {
    let from = from.map(|(name, value)| format!("{name}={}", encode(value)));
    let limit = limit.map(|limit| format!("limit={limit}"));
    let query: Vec<_> = from.into_iter().chain(limit).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("{path}{mark}{}", query.join("&"))
}

fn user_path(jid: &BareJid) -> String {
    format!("/v1/users/{}", encode(jid.as_str()))
}

/// RFC 3986 §2.1: everything but unreserved characters becomes `%XX`.
fn encode(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    });
    encoded.collect()
}

fn json(body: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(body).map_err(|error| ApiError::new(ErrorCode::Internal, error.to_string()))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!("cannot read the answer of the server; is it of another version? ({error})");
        ApiError::new(ErrorCode::Internal, message)
    })
}

fn no_answer(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Unreachable, message)
}

fn unknown(status: StatusCode) -> ApiError {
    let message = format!("the server answered {status}; is it of another version?");
    ApiError::new(ErrorCode::Internal, message)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Body;
    use axum::extract::{Request as Asked, State};
    use axum::http::Response;
    use axum::routing::any;
    use tokio::net::UnixListener;

    use super::*;

    /// What was asked: method with path and query, and body.
    type Log = Arc<Mutex<Vec<(String, String)>>>;

    /// A server that answers everything in the same way, and remembers what it was asked.
    struct Server {
        socket: PathBuf,
        log: Log,
        _folder: tempfile::TempDir,
    }

    impl Server {
        fn start(status: u16, body: &'static str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let socket = folder.path().join("unisono.sock");
            let log = Log::default();
            let answer = async move |State(log): State<Log>, asked: Asked| {
                let (head, asked_body) = asked.into_parts();
                let asked_body = asked_body.collect().await.unwrap().to_bytes();
                let line = format!("{} {}", head.method, head.uri);
                log.lock().unwrap().push((line, String::from_utf8(asked_body.to_vec()).unwrap()));
                Response::builder().status(status).body(Body::from(body)).unwrap()
            };
            let router = Router::new().fallback(any(answer)).with_state(Arc::clone(&log));
            let listener = UnixListener::bind(&socket).unwrap();
            tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
            Self { socket, log, _folder: folder }
        }

        async fn client(&self) -> ApiClient {
            ApiClient::connect(&self.socket).await.unwrap()
        }

        fn asked(&self) -> Vec<(String, String)> {
            std::mem::take(&mut self.log.lock().unwrap())
        }
    }

    fn alice() -> BareJid {
        "alice@example.org".parse().unwrap()
    }

    #[tokio::test]
    async fn every_request_has_its_method_path_and_body() {
        let user = r#"{"jid":"alice@example.org","state":"disabled","created_at":"2026-01-01T00:00:00Z","devices":2,"new":1}"#;
        let server = Server::start(200, user);
        let client = server.client().await;
        let password = Secret::new("ge\"heim");
        assert_eq!(client.user(&alice()).await.unwrap().devices, 2);
        client.add_user(&alice(), &password, Names::Distinct).await.unwrap();
        client.add_user(&alice(), &password, Names::Any).await.unwrap();
        client.set_password(&alice(), &password).await.unwrap();
        let changed = client.set_state(&alice(), UserState::Disabled).await.unwrap();
        assert_eq!(changed.state, UserState::Disabled);
        client.delete_user(&alice()).await.unwrap();
        let own = |line: &str, body: &str| (line.to_owned(), body.to_owned());
        let want = [
            own("GET /v1/users/alice%40example.org", ""),
            own("POST /v1/users", r#"{"jid":"alice@example.org","password":"ge\"heim"}"#),
            own(
                "POST /v1/users",
                r#"{"jid":"alice@example.org","password":"ge\"heim","allow_confusable":true}"#,
            ),
            own("PUT /v1/users/alice%40example.org/password", r#"{"password":"ge\"heim"}"#),
            own("PATCH /v1/users/alice%40example.org", r#"{"state":"disabled"}"#),
            own("DELETE /v1/users/alice%40example.org", ""),
        ];
        assert_eq!(server.asked(), want);
    }

    #[tokio::test]
    async fn lists_are_asked_for_with_a_query() {
        let server = Server::start(200, r#"{"users":[],"next":"b@c","sessions":[]}"#);
        let client = server.client().await;
        assert_eq!(client.users(None, None).await.unwrap().next.as_deref(), Some("b@c"));
        client.users(Some("ä&b@c"), NonZeroU32::new(7)).await.unwrap();
        client.sessions(None).await.unwrap();
        client.sessions(Some(&alice())).await.unwrap();
        let paths: Vec<_> = server.asked().into_iter().map(|(line, _)| line).collect();
        let want = [
            "GET /v1/users",
            "GET /v1/users?after=%C3%A4%26b%40c&limit=7",
            "GET /v1/sessions",
            "GET /v1/sessions?jid=alice%40example.org",
        ];
        assert_eq!(paths, want);
    }

    #[tokio::test]
    async fn a_session_is_kicked_by_its_full_jid() {
        let server = Server::start(200, r#"{"sessions":1}"#);
        let jid: Jid = "alice@example.org/my phone/1".parse().unwrap();
        assert_eq!(server.client().await.kick(&jid).await.unwrap().sessions, 1);
        let want = "DELETE /v1/sessions?jid=alice%40example.org%2Fmy%20phone%2F1";
        assert_eq!(server.asked()[0].0, want);
    }

    #[tokio::test]
    async fn a_device_is_taken_its_access_by_its_id() {
        let server = Server::start(200, r#"{"devices":[],"sessions":2,"knows_password":true}"#);
        let client = server.client().await;
        assert!(client.devices(&alice()).await.unwrap().devices.is_empty());
        assert_eq!(client.revoke(&alice(), "a/b").await.unwrap().sessions, 2);
        let paths: Vec<_> = server.asked().into_iter().map(|(line, _)| line).collect();
        let user = "/v1/users/alice%40example.org/devices";
        assert_eq!(paths, [format!("GET {user}"), format!("DELETE {user}/a%2Fb")]);
    }

    #[tokio::test]
    async fn the_doctor_is_asked_for_one_account() {
        let server = Server::start(200, r#"{"jid":"alice@example.org","log_head":5,"devices":[]}"#);
        assert_eq!(server.client().await.doctor(&alice()).await.unwrap().log_head, 5);
        assert_eq!(server.asked()[0].0, "GET /v1/sync/alice%40example.org");
    }

    #[tokio::test]
    async fn an_error_keeps_its_code_and_nonsense_is_told_as_such() {
        let exists = r#"{"error":{"code":"already_exists","message":"alice@example.org exists"}}"#;
        for (status, body, code, message) in [
            (409, exists, ErrorCode::AlreadyExists, "alice@example.org exists"),
            (
                404,
                "<html>",
                ErrorCode::Internal,
                "the server answered 404 Not Found; is it of another version?",
            ),
            (
                200,
                "{",
                ErrorCode::Internal,
                "cannot read the answer of the server; is it of another version? \
                 (EOF while parsing an object at line 1 column 1)",
            ),
        ] {
            let server = Server::start(status, body);
            let error = server.client().await.user(&alice()).await.unwrap_err();
            assert_eq!(error, ApiError::new(code, message));
        }
    }

    #[tokio::test]
    async fn no_server_is_told_from_a_broken_one() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("unisono.sock");
        assert!(matches!(ApiClient::connect(&socket).await, Err(ConnectError::NoServer)));
        let listener = UnixListener::bind(&socket).unwrap();
        let client = ApiClient::connect(&socket).await.unwrap();
        let (answer, ()) = tokio::join!(client.version(), async {
            // The first connection was the one of `connect`.
            for _ in 0..2 {
                drop(listener.accept().await.unwrap());
            }
        });
        assert_eq!(answer.unwrap_err().code, ErrorCode::Unreachable);
        drop(listener);
        assert!(matches!(ApiClient::connect(&socket).await, Err(ConnectError::NoServer)));
    }
}
