//! The administration API over HTTP (`types.rs` lists it). Who reaches the socket may do everything.

use std::fmt::Display;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use unisono_core::jid::{BareJid, Jid};

use super::types::{ApiError, ErrorBody, ErrorCode, NewPassword, NewUser, UserChange};
use crate::cli::Admin;

type Shared = Arc<dyn Admin>;

/// The API for programs that make clients.
const DESCRIPTION: &str = include_str!("openapi.json");

/// The API of an administration.
pub fn router(admin: Shared) -> Router {
    Router::new()
        .route(
            "/v1/openapi.json",
            get(|| async { ([(header::CONTENT_TYPE, "application/json")], DESCRIPTION) }),
        )
        .route("/v1/version", get(|State(admin): State<Shared>| async move { ok(admin.version().await) }))
        .route("/v1/users", get(users).post(add_user))
        .route("/v1/users/{jid}", get(user).patch(change_user).delete(delete_user))
        .route("/v1/users/{jid}/password", put(set_password))
        .route("/v1/users/{jid}/devices", get(devices))
        .route("/v1/users/{jid}/devices/{id}", delete(revoke))
        .route("/v1/sessions", get(sessions).delete(kick))
        .route("/v1/sync/{jid}", get(doctor))
        .route("/v1/invitations", get(invitations).post(invite))
        .route("/v1/invitations/{token}", delete(withdraw))
        .route("/v1/reports", get(reports))
        .route("/v1/reports/{number}", delete(forget_report))
        .fallback(|| async { Failed(ApiError::new(ErrorCode::NotFound, "there is no such path")) })
        .method_not_allowed_fallback(|method: Method| async move {
            Failed(ApiError::new(ErrorCode::InvalidRequest, format!("{method} is not for this path")))
        })
        .with_state(admin)
}

#[derive(Deserialize)]
struct Page {
    after: Option<String>,
    before: Option<String>,
    limit: Option<String>,
}

impl Page {
    fn limit(&self) -> Result<Option<NonZeroU32>, ApiError> {
        let limit = self.limit.as_ref().map(|limit| limit.parse()).transpose();
        limit.map_err(|_| ApiError::new(ErrorCode::InvalidRequest, "limit is no number above 0"))
    }
}

#[derive(Deserialize)]
struct Whose {
    jid: Option<String>,
}

/// A part of a request. Where it cannot be read, the answer is an error of ours.
struct Asked<T>(T);

impl<S: Send + Sync, T: FromRequestParts<S, Rejection: Display>> FromRequestParts<S> for Asked<T> {
    type Rejection = Failed;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failed> {
        T::from_request_parts(parts, state).await.map(Self).map_err(|error| unreadable(&error))
    }
}

/// The body, with a bound.
struct Body(Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Failed;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failed> {
        Bytes::from_request(request, state).await.map(Self).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &impl Display) -> Failed {
    Failed(ApiError::new(ErrorCode::InvalidRequest, format!("the request cannot be read: {error}")))
}

/// A change is made whole: a handler ends where it waits when its client goes, but not what it began here.
async fn whole<T: Send + 'static>(
    change: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    // The other way to end is a panic, which the panic hook has told.
    tokio::spawn(change).await.unwrap_or_else(|_| {
        Err(ApiError::new(ErrorCode::Internal, "the server made a mistake, its log says which"))
    })
}

async fn users(State(admin): State<Shared>, Asked(Query(query)): Asked<Query<Page>>) -> Response {
    let result = async { admin.users(query.after.as_deref(), query.limit()?).await };
    ok(result.await)
}

async fn add_user(State(admin): State<Shared>, Body(body): Body) -> Response {
    let change = async move {
        let user: NewUser = parse(&body)?;
        admin.add_user(&bare(&user.jid)?, &user.password, user.allow_confusable).await
    };
    match whole(change).await {
        Ok(user) => (StatusCode::CREATED, Json(user)).into_response(),
        Err(error) => Failed(error).into_response(),
    }
}

async fn user(State(admin): State<Shared>, Asked(Path(jid)): Asked<Path<String>>) -> Response {
    ok(async { admin.user(&bare(&jid)?).await }.await)
}

async fn change_user(
    State(admin): State<Shared>,
    Asked(Path(jid)): Asked<Path<String>>,
    Body(body): Body,
) -> Response {
    let change = async move {
        let change: UserChange = parse(&body)?;
        admin.set_state(&bare(&jid)?, change.state).await
    };
    ok(whole(change).await)
}

async fn delete_user(State(admin): State<Shared>, Asked(Path(jid)): Asked<Path<String>>) -> Response {
    done(whole(async move { admin.delete_user(&bare(&jid)?).await }).await)
}

async fn set_password(
    State(admin): State<Shared>,
    Asked(Path(jid)): Asked<Path<String>>,
    Body(body): Body,
) -> Response {
    let change = async move {
        let new: NewPassword = parse(&body)?;
        admin.set_password(&bare(&jid)?, &new.password).await
    };
    done(whole(change).await)
}

async fn sessions(State(admin): State<Shared>, Asked(Query(query)): Asked<Query<Whose>>) -> Response {
    let result = async {
        let jid = query.jid.as_deref().map(bare).transpose()?;
        admin.sessions(jid.as_ref()).await
    };
    ok(result.await)
}

async fn kick(State(admin): State<Shared>, Asked(Query(query)): Asked<Query<Whose>>) -> Response {
    let change = async move {
        let jid = query
            .jid
            .ok_or_else(|| ApiError::new(ErrorCode::InvalidRequest, "the parameter jid is missing"))?;
        let jid: Jid = jid.parse().map_err(|_| not_a_jid(&jid))?;
        admin.kick(&jid).await
    };
    ok(whole(change).await)
}

async fn devices(State(admin): State<Shared>, Asked(Path(jid)): Asked<Path<String>>) -> Response {
    ok(async { admin.devices(&bare(&jid)?).await }.await)
}

async fn revoke(
    State(admin): State<Shared>,
    Asked(Path((jid, id))): Asked<Path<(String, String)>>,
) -> Response {
    ok(whole(async move { admin.revoke(&bare(&jid)?, &id).await }).await)
}

async fn doctor(State(admin): State<Shared>, Asked(Path(jid)): Asked<Path<String>>) -> Response {
    ok(async { admin.doctor(&bare(&jid)?).await }.await)
}

async fn invite(State(admin): State<Shared>, Body(body): Body) -> Response {
    let change = async move { admin.invite(&parse(&body)?).await };
    match whole(change).await {
        Ok(invitation) => (StatusCode::CREATED, Json(invitation)).into_response(),
        Err(error) => Failed(error).into_response(),
    }
}

async fn invitations(State(admin): State<Shared>, Asked(Query(query)): Asked<Query<Page>>) -> Response {
    ok(async { admin.invitations(query.after.as_deref(), query.limit()?).await }.await)
}

async fn withdraw(State(admin): State<Shared>, Asked(Path(token)): Asked<Path<String>>) -> Response {
    done(whole(async move { admin.withdraw(&token).await }).await)
}

async fn reports(State(admin): State<Shared>, Asked(Query(query)): Asked<Query<Page>>) -> Response {
    let result = async {
        let before = query.before.as_deref().map(number).transpose()?;
        admin.reports(before, query.limit()?).await
    };
    ok(result.await)
}

async fn forget_report(State(admin): State<Shared>, Asked(Path(text)): Asked<Path<String>>) -> Response {
    done(whole(async move { admin.forget_report(number(&text)?).await }).await)
}

fn number(text: &str) -> Result<i64, ApiError> {
    text.parse().map_err(|_| ApiError::new(ErrorCode::InvalidRequest, format!("\"{text}\" is no number")))
}

fn bare(text: &str) -> Result<BareJid, ApiError> {
    text.parse().map_err(|_| not_a_jid(text))
}

fn not_a_jid(text: &str) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidRequest,
        format!("\"{text}\" is not an address such as alice@example.org"),
    )
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, format!("the body is wrong: {error}")))
}

fn ok<T: Serialize>(result: Result<T, ApiError>) -> Response {
    match result {
        Ok(value) => Json(value).into_response(),
        Err(error) => Failed(error).into_response(),
    }
}

fn done(result: Result<(), ApiError>) -> Response {
    match result {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => Failed(error).into_response(),
    }
}

/// An error as a response.
pub(super) struct Failed(pub(super) ApiError);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let no_store = [(header::CACHE_CONTROL, "no-store")];
        (status, no_store, Json(ErrorBody { error: self.0 })).into_response()
    }
}

#[cfg(test)]
mod tests;
