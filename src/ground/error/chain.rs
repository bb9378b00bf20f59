//! Finds a refusal in an error, in any wrapper.

use std::error::Error;
use std::io;
use std::iter;

use tower::BoxError;

use super::{AtDeadline, Rejected};

/// Finds the refusal in an error's chain of sources, if a layer of this crate refused or ended the call.
pub fn rejection(error: &BoxError) -> Option<&Rejected> {
    rejection_in(error.as_ref())
}

/// The same for an error that is not boxed: a client's own error type with the refusal as its source, such as a `tonic::Status`.
///
/// The refusal is also found in wrappers that hide the error that they hold: an `anyhow::Error` or `eyre::Report`, boxed or not (pass
/// `error.as_ref()`), an `io::Error`, an `Arc<dyn Error>`, a transparent error, and any of them inside another. An error that
/// keeps only the text of another (`format!("{error}").into()`) has lost the refusal.
///
/// A client that applies the deadline sent with the request, such as a tonic `Channel`, ends a call with its own error a moment
/// before the deadline. That error is found as the cut at the deadline too, and stays the last in the chain of sources.
///
/// ```
/// use std::time::Duration;
/// use seawall::error::{Reason, rejection_in};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("the books are closed")]
/// struct Closed(#[source] tower::BoxError);
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), seawall::error::InvalidConfig> {
/// let books = seawall::deadline::DeadlineLayer::new(Duration::from_millis(5))?
///     .layer(service_fn(|()| std::future::pending::<Result<(), tower::BoxError>>()));
///
/// let error = books.oneshot(()).await.map_err(Closed).expect_err("the service never answers");
/// let rejected = rejection_in(&error).expect("it was the deadline");
/// assert_eq!(rejected.reason(), Reason::DeadlineExceeded);
/// # Ok(())
/// # }
/// ```
pub fn rejection_in<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Rejected> {
    causes(error).find_map(rejection_here)
}

/// The refusal that an error itself is or represents, without its causes.
pub(crate) fn rejection_here<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a Rejected> {
    Rejected::of(error).or_else(|| AtDeadline::cut(error))
}

/// An error and its causes.
#[cfg(feature = "http")]
pub(crate) fn chain(error: &BoxError) -> impl Iterator<Item = &(dyn Error + 'static)> {
    causes(error.as_ref())
}

/// The longest chain of causes. An error that is its own source would have no end.
const MAX_DEPTH: usize = 128;

/// An [`io::Error`] around another error hides it: its source is the other's source.
pub(super) fn causes<'a>(outermost: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    let causes = iter::successors(Some(outermost), |&error| {
        match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(within) => Some(within),
            None => error.source(),
        }
    });
    causes.take(MAX_DEPTH)
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;

    use super::*;
    use crate::ground::error::Reason;
    use crate::ground::layer_id::LayerKind;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped(#[source] BoxError);

    #[derive(Debug, thiserror::Error)]
    #[error(transparent)]
    struct Transparent(BoxError);

    fn refusal() -> Rejected {
        Rejected::nameless(LayerKind::Bulkhead, Reason::QueueFull)
    }

    type Wrap = fn(BoxError) -> BoxError;

    /// Common wrappers of errors.
    fn wrappers() -> [(&'static str, Wrap); 9] {
        [
            ("a source", |error| Wrapped(error).into()),
            ("transparent", |error| Transparent(error).into()),
            ("io", |error| io::Error::other(error).into()),
            ("io in io", |error| io::Error::other(io::Error::other(error)).into()),
            ("shared", |error| Box::new(Arc::<dyn Error + Send + Sync>::from(error))),
            ("anyhow", |error| anyhow::Error::from_boxed(error).into()),
            ("anyhow of text", |error| anyhow::anyhow!(error).into()),
            ("anyhow with context", |error| anyhow::Error::from_boxed(error).context("while paying").into()),
            ("eyre", |error| eyre::eyre!(error).into()),
        ]
    }

    #[test]
    fn refusal_in_any_two_wrappers_is_found() {
        let plain: BoxError = refusal().into();
        assert_eq!(rejection(&plain), Some(&refusal()));
        for (outer, wrap_again) in wrappers() {
            assert_eq!(rejection(&wrap_again(refusal().into())), Some(&refusal()), "{outer}");
            for (inner, wrap) in wrappers() {
                let error = wrap_again(wrap(refusal().into()));
                let found = rejection(&error);
                assert_eq!(found, Some(&refusal()), "{inner} in {outer}");
                assert_eq!(found.map(ToString::to_string), Some(refusal().to_string()), "the whole text");
                assert_eq!(rejection(&wrap_again(wrap("something else".into()))), None);
            }
        }
    }

    #[test]
    fn refusal_as_the_outermost_error_is_found() {
        let anyhow = anyhow::Error::new(refusal());
        assert_eq!(rejection_in(anyhow.as_ref()), Some(&refusal()));
        assert_eq!(rejection(&anyhow.into()), Some(&refusal()));
        let anyhow = anyhow::Error::new(refusal()).context("while paying");
        assert_eq!(rejection_in(anyhow.as_ref()), Some(&refusal()));
        let eyre = eyre::Report::new(refusal());
        assert_eq!(rejection_in(eyre.as_ref()), Some(&refusal()));
        assert_eq!(rejection(&eyre.into()), Some(&refusal()));
        assert_eq!(rejection(&Box::new(Arc::new(refusal())).into()), Some(&refusal()));
        let boxed: Box<dyn Error> = Box::new(refusal());
        assert_eq!(rejection_in(boxed.as_ref()), Some(&refusal()));
    }

    #[test]
    fn other_errors_have_no_refusal() {
        assert_eq!(rejection(&"something else".into()), None);
        assert_eq!(rejection(&io::Error::from(io::ErrorKind::TimedOut).into()), None);
        assert_eq!(rejection(&refusal().to_string().into()), None, "the text alone");
    }

    #[test]
    fn self_referential_source_terminates() {
        #[derive(Debug)]
        struct Endless;
        impl fmt::Display for Endless {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("endless")
            }
        }
        impl Error for Endless {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&Endless)
            }
        }
        assert_eq!(rejection(&Endless.into()), None);
    }

    /// The chain in a log: the text of the refusal, and the reason in one word.
    #[test]
    fn chain_of_a_refusal_ends_with_its_reason() {
        let error: BoxError = refusal().into();
        let texts: Vec<_> = causes(error.as_ref()).map(ToString::to_string).collect();
        assert_eq!(texts, [refusal().to_string(), "queue_full".to_owned()]);
    }
}
