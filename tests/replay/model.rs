//! For any frames, bound and points of failure, each attempt sees a prefix of the body, and the attempt that succeeds
//! sees all of it.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use proptest::collection::vec;
use proptest::prelude::*;
use seawall::http::{ByMethod, ReplayBody};
use seawall::retry::{RetryConfig, RetryLayer};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::config;
use crate::upload::{Piece, Upload};

/// How an attempt ends, after it has read this many frames.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Answered, but the rest of the body is kept, and read on after the next attempt has begun.
    Held(usize),
    Refused(usize),
    Lost(usize),
}

#[derive(Debug, Default)]
struct Seen {
    /// The length of the body, if it is known.
    length: Option<u64>,
    data: Vec<u8>,
    trailers: bool,
    over: bool,
}

impl Seen {
    async fn read(&mut self, body: &mut ReplayBody<Upload>, frames: usize) -> bool {
        for _ in 0..frames {
            let left = self.length.map(|length| length - self.data.len() as u64);
            assert_eq!(body.size_hint().exact(), left, "the size hint is the remaining length");
            let ended = body.is_end_stream();
            match body.frame().await {
                Some(_) if ended => panic!("a frame after the end"),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.data.extend_from_slice(&data),
                    Err(frame) => self.trailers |= frame.is_trailers(),
                },
                Some(Err(_)) => return false,
                None => {
                    self.over = true;
                    return true;
                }
            }
        }
        true
    }
}

/// What each attempt saw, and whether the last attempt succeeded.
async fn run(
    frames: &[Vec<u8>],
    pauses: &[bool],
    exact: bool,
    trailers: bool,
    max: usize,
    ends: &[End],
) -> (Vec<Seen>, bool) {
    let pieces = frames.iter().zip(pauses).flat_map(|(frame, pause)| {
        pause.then_some(Piece::Pause).into_iter().chain([Piece::Data(Bytes::from(frame.clone()))])
    });
    let mut upload = Upload::new(pieces);
    if trailers {
        upload = upload.with_trailer("x-checksum", "7");
    }
    if exact {
        upload = upload.exact();
    }
    let length = exact.then(|| frames.iter().map(Vec::len).sum::<usize>() as u64);
    let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let held: Arc<Mutex<Option<ReplayBody<Upload>>>> = Arc::default();
    let ends = Arc::new(ends.to_vec());
    let server = {
        let (seen, held) = (Arc::clone(&seen), Arc::clone(&held));
        service_fn(move |request: Request<ReplayBody<Upload>>| {
            let (seen, held, ends) = (Arc::clone(&seen), Arc::clone(&held), Arc::clone(&ends));
            async move {
                let mut body = request.into_body();
                let number = seen.lock().unwrap().len();
                let older = held.lock().unwrap().take();
                if let Some(mut older) = older {
                    let told = older.frame().await;
                    assert!(
                        told.is_none_or(|told| told.is_err()) && older.is_end_stream(),
                        "a superseded attempt reads nothing"
                    );
                }
                let mut attempt = Seen { length, ..Seen::default() };
                let end = ends.get(number).copied();
                let reads = match end {
                    Some(End::Held(frames) | End::Refused(frames) | End::Lost(frames)) => frames,
                    None => usize::MAX,
                };
                let whole = attempt.read(&mut body, reads).await;
                seen.lock().unwrap().push(attempt);
                assert!(whole, "the newest attempt reads without an error");
                let status = match end {
                    Some(End::Lost(_)) => return Err(BoxError::from(io::Error::from(io::ErrorKind::ConnectionReset))),
                    Some(End::Held(_)) => {
                        *held.lock().unwrap() = Some(body);
                        503
                    }
                    Some(End::Refused(_)) => 503,
                    None => 200,
                };
                Ok(Response::builder().status(status).body(Empty::<Bytes>::new()).unwrap())
            }
        })
    };
    let config = RetryConfig { max_attempts: 10, ..config() };
    let retry = RetryLayer::http(config).unwrap().with_replay(ByMethod::default().with_max_body(max));
    let answer = retry.layer(server).oneshot(Request::put("/").body(upload).unwrap()).await;
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    (seen, answer.is_ok_and(|answer| answer.status() == 200))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]
    #[test]
    fn each_attempt_sees_a_prefix_and_the_last_all(
        frames in vec(vec(any::<u8>(), 0..3000), 0..12),
        pauses in vec(any::<bool>(), 12),
        exact in any::<bool>(),
        trailers in any::<bool>(),
        max in prop_oneof![Just(0_usize), 0_usize..40_000, Just(usize::MAX)],
        ends in vec((0_usize..16, 0..5), 0..4),
    ) {
        let mut lost = 0;
        let ends: Vec<End> = ends
            .into_iter()
            .map(|(frames, kind)| match kind {
                0 if lost == 0 => {
                    lost = 1;
                    End::Lost(frames)
                }
                0..=2 => End::Refused(frames),
                _ => End::Held(frames),
            })
            .collect();
        let all = frames.concat();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (seen, well) = runtime.block_on(run(&frames, &pauses, exact, trailers, max, &ends));

        for attempt in &seen {
            prop_assert!(all.starts_with(&attempt.data));
            prop_assert!(!attempt.trailers || (trailers && attempt.data == all));
            prop_assert!(!attempt.over || (attempt.data == all && attempt.trailers == trailers));
        }
        if well {
            prop_assert_eq!(seen.len(), ends.len() + 1);
            prop_assert!(seen.last().is_some_and(|last| last.over));
        } else {
            // Only the bound can have prevented a further attempt.
            prop_assert!(seen.iter().any(|attempt| attempt.data.len() + usize::from(attempt.trailers) * 11 > max));
        }
    }
}
