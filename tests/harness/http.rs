//! As much HTTP as it takes to read the metrics and to create accounts.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Sends one request and reads the answer: its status and its body.
pub(crate) async fn request(
    mut io: impl AsyncRead + AsyncWrite + Unpin,
    line: &str,
    body: &str,
) -> (u16, String) {
    let head = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    io.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = String::new();
    io.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let body = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (status, body)
}
