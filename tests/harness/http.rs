//! As much HTTP as it takes to read the metrics and to create accounts.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Sends one request and reads the answer: its status and its body.
pub(crate) async fn request(
    io: impl AsyncRead + AsyncWrite + Unpin,
    line: &str,
    body: &str,
) -> (u16, String) {
    let (status, _, body) = request_with(io, line, &["Host: localhost"], body).await;
    (status, body)
}

/// The same with lines of one's own in its head. Returns the head of the answer, too.
pub(crate) async fn request_with(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    line: &str,
    headers: &[&str],
    body: &str,
) -> (u16, String, String) {
    let own = headers.join("\r\n");
    let head = format!(
        "{line} HTTP/1.1\r\n{own}\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    io.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (status, head.to_lowercase(), body.to_owned())
}
