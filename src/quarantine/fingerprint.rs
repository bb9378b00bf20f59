use std::fmt;
use std::hash::Hash;

/// Tells which requests are alike: they kill an instance, or none of them does.
///
/// Most are closures, which return what the requests have in common. Implement the trait for a fingerprint that some requests do not
/// have. The closure runs once per call and should be cheap, and so should a drop of what it returns.
pub trait Fingerprint<Request> {
    /// What the requests have in common. Only its hash is compared, with a random seed for each layer value. Its `Debug` text is
    /// logged when the fingerprint is quarantined.
    type Key: Hash + fmt::Debug + Send + 'static;

    /// The fingerprint of a request. A request without one is never refused.
    fn fingerprint(&self, request: &Request) -> Option<Self::Key>;
}

impl<F, Request, Key> Fingerprint<Request> for F
where
    F: Fn(&Request) -> Key,
    Key: Hash + fmt::Debug + Send + 'static,
{
    type Key = Key;

    fn fingerprint(&self, request: &Request) -> Option<Key> {
        Some(self(request))
    }
}
