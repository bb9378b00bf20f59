//! HTTP/1.1 written by hand, which gives control over every byte.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};
use tokio::time::sleep;

use super::{Answer, Census, PAUSE, Rest, Script};
use crate::pipes::Stream;

/// Whether the connection may serve another request.
#[derive(PartialEq, Eq)]
enum Then {
    KeepAlive,
    Reset,
    Close,
}

pub(super) async fn serve(stream: Stream, census: Arc<Census>, script: Script) {
    let (mut read, mut write) = split(stream);
    loop {
        if !matches!(read_head(&mut read).await, Ok(true)) {
            return;
        }
        let (number, open) = census.answer().await;
        let answer = script(number);
        let then = if matches!(answer.rest, Rest::Echo) {
            echo(&mut read, &mut write, &answer).await
        } else {
            tokio::select! {
                then = write_answer(&mut write, &answer) => then,
                // The client sends nothing more, so this read ends when the client closes.
                _ = read.read_u8() => return,
            }
        };
        drop(open);
        match then {
            Ok(Then::KeepAlive) => {}
            Ok(Then::Reset) => {
                read.unsplit(write).reset();
                return;
            }
            Ok(Then::Close) | Err(_) => return,
        }
    }
}

/// Reads a request without a body, or with a `Content-Length`, to its end.
async fn read_head(read: &mut ReadHalf<Stream>) -> io::Result<bool> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match read.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return Ok(false),
        }
    }
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    if let Some(length) = length.and_then(|length| length.parse::<usize>().ok()) {
        read.read_exact(&mut vec![0; length]).await?;
    }
    Ok(true)
}

async fn write_head(write: &mut WriteHalf<Stream>, answer: &Answer, framing: &str) -> io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Whatever\r\n{framing}", answer.status);
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    write.write_all(head.as_bytes()).await
}

const CHUNKED: &str = "transfer-encoding: chunked\r\n";

async fn write_answer(write: &mut WriteHalf<Stream>, answer: &Answer) -> io::Result<Then> {
    match &answer.rest {
        Rest::Silence => std::future::pending().await,
        Rest::Whole(body) => {
            write_head(write, answer, &format!("content-length: {}\r\n", body.len())).await?;
            write.write_all(body).await?;
            Ok(Then::KeepAlive)
        }
        Rest::Trailers(body, (name, value)) => {
            write_head(write, answer, &format!("{CHUNKED}trailer: {name}\r\n")).await?;
            write_chunk(write, body).await?;
            write.write_all(format!("0\r\n{name}: {value}\r\n\r\n").as_bytes()).await?;
            Ok(Then::KeepAlive)
        }
        Rest::Stall => {
            write_head(write, answer, CHUNKED).await?;
            write_chunk(write, b"x").await?;
            std::future::pending().await
        }
        Rest::Drip(every) => {
            write_head(write, answer, CHUNKED).await?;
            drip(write, usize::MAX, *every).await?;
            Ok(Then::Close)
        }
        Rest::Trickle(bytes, every) => {
            write_head(write, answer, CHUNKED).await?;
            drip(write, *bytes, *every).await?;
            write.write_all(b"0\r\n\r\n").await?;
            Ok(Then::KeepAlive)
        }
        Rest::Endless => {
            write_head(write, answer, CHUNKED).await?;
            loop {
                for _ in 0..16 {
                    write_chunk(write, &[b'x'; 16 * 1024]).await?;
                }
                sleep(PAUSE).await;
            }
        }
        Rest::Reset => {
            write_head(write, answer, CHUNKED).await?;
            write_chunk(write, b"x").await?;
            // A reset discards what the client has not read yet, the head too.
            sleep(Duration::from_millis(20)).await;
            Ok(Then::Reset)
        }
        Rest::Close => {
            write_head(write, answer, "content-length: 1000\r\n").await?;
            write.write_all(b"x").await?;
            Ok(Then::Close)
        }
        Rest::Echo => Ok(Then::Close),
    }
}

async fn drip(write: &mut WriteHalf<Stream>, bytes: usize, every: Duration) -> io::Result<()> {
    for _ in 0..bytes {
        sleep(every).await;
        write_chunk(write, b"x").await?;
    }
    Ok(())
}

async fn write_chunk(write: &mut WriteHalf<Stream>, chunk: &[u8]) -> io::Result<()> {
    let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
    framed.extend_from_slice(chunk);
    framed.extend_from_slice(b"\r\n");
    write.write_all(&framed).await
}

async fn echo(read: &mut ReadHalf<Stream>, write: &mut WriteHalf<Stream>, answer: &Answer) -> io::Result<Then> {
    let switching = answer.clone().with_status(101);
    write_head(write, &switching, "connection: upgrade\r\nupgrade: echo\r\n").await?;
    tokio::io::copy(read, write).await?;
    Ok(Then::Close)
}
