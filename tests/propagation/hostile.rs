//! Invalid and hostile header values, byte by byte.

use seawall::context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// The time left that the handler sees, and the attempt number; `None` if the server refuses the request.
async fn seen(address: SocketAddr, headers: &[u8]) -> Option<(Duration, u32)> {
    let mut stream = pipes::connect(address, |_| Ok(())).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n").await.unwrap();
    stream.write_all(headers).await.unwrap();
    stream.write_all(b"\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if !head.starts_with("HTTP/1.1 200") {
        assert!(head.starts_with("HTTP/1.1 4"), "{answer}");
        return None;
    }
    let (micros, attempt) = body.split_once(' ').unwrap();
    Some((Duration::from_micros(micros.parse().unwrap()), attempt.parse().unwrap()))
}

/// Answers with the time left under the service's own deadline of this many seconds.
async fn server(seconds: u64) -> SocketAddr {
    let layers = ServiceBuilder::new()
        .layer(ExtractLayer::http(PropagationConfig::default()).unwrap())
        .layer(RespondLayer::new())
        .layer(DeadlineLayer::http(Duration::from_secs(seconds)).unwrap());
    let handler = || async {
        let left = context::time_left().expect("the service has a deadline of its own");
        format!("{} {}", left.as_micros(), context::attempt())
    };
    serve(Router::new().fallback(handler).layer(layers)).await
}

fn line(name: &str, value: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b": ", value, b"\r\n"].concat()
}

#[tokio::test(start_paused = true)]
async fn invalid_timeouts_are_ignored_and_none_extends_the_deadline() {
    let address = server(20).await;
    let many = [b'9'; 4000];
    let values: [&[u8]; 24] = [
        b"",
        b" ",
        b"-1",
        b"+1",
        b"1.5",
        b"1e2",
        b"0x10",
        b"1,2",
        b"1;2",
        b"1 2",
        b"10ms",
        b"\xff\xfe",
        b"\xd9\xa3",
        b"NaN",
        b"inf",
        b"-0",
        b"\"5\"",
        b"true",
        b"18446744073709551616",
        b"9223372036854775808",
        b"600001",
        b"4294967296000",
        b"%35",
        &many,
    ];
    for name in ["x-request-timeout-ms", "X-Envoy-Expected-Rq-Timeout-Ms"] {
        for value in values {
            if let Some((left, _)) = seen(address, &line(name, value)).await {
                let shown = String::from_utf8_lossy(value);
                assert!(left <= Duration::from_secs(20) && left > Duration::from_secs(15), "{shown}: {left:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn smallest_valid_of_repeated_values_holds() {
    let address = server(20).await;
    let hostile: [&[&[u8]]; 4] =
        [&[b"9000", b"5000"], &[b"5000", b"9000"], &[b"-1", b"5000"], &[b"\xff", b"5000", b"99999999"]];
    for values in hostile {
        let lines: Vec<u8> = values.iter().flat_map(|value| line("x-request-timeout-ms", value)).collect();
        let (left, _) = seen(address, &lines).await.expect("the request is served");
        assert!(left <= Duration::from_secs(5) && left > Duration::from_secs(1), "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_number_is_accepted_within_bounds() {
    let address = server(20).await;
    for (value, expected) in [("2", 2), ("0", 1), ("-7", 1), ("", 1), ("two", 1)] {
        let (_, attempt) =
            seen(address, &line("x-envoy-attempt-count", value.as_bytes())).await.expect("the request is served");
        assert_eq!(attempt, expected, "{value:?}");
    }
    for value in ["4294967296", "99999999999999999999999999999999"] {
        let (_, attempt) =
            seen(address, &line("x-envoy-attempt-count", value.as_bytes())).await.expect("the request is served");
        assert!(attempt > 1000, "{value:?}");
    }
}

/// Without an inherited deadline the layers use their own bounds, which a caller must not be able to lift.
#[tokio::test(start_paused = true)]
async fn timeout_above_the_maximum_sets_no_deadline() {
    let layer = ExtractLayer::http(PropagationConfig::default()).unwrap();
    let handler = || async { context::time_left().is_some().to_string() };
    let address = serve(Router::new().fallback(handler).layer(layer)).await;
    for (value, has_deadline) in [("600001", "false"), ("99999999999999999999", "false"), ("600000", "true")] {
        let answer = send(&bare(), address, &[("x-request-timeout-ms", value)]).await.unwrap();
        assert_eq!(answer.body, has_deadline, "{value}");
    }
}
