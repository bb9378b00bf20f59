use ::http::HeaderName;
use ::http::request::Parts;

/// The client's promise that a request with the same key is executed once, however often it arrives
/// (draft-ietf-httpapi-idempotency-key-header).
static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// A request extension that says whether the request may be executed twice. It overrides the request's method.
///
/// `Idempotent(true)` also says that both executions may run at once, so that the request may be [hedged](crate::hedge). Without it only
/// requests with a safe method (RFC 9110, section 9.2.1) are: two executions of a `PUT`, one after the other, do no harm, but of two at
/// once one may find a lock or a version that the other has taken, and its error may be the answer.
///
/// ```
/// use http::Request;
/// use seawall::http::Idempotent;
///
/// # fn main() -> Result<(), http::Error> {
/// // a search that is only a POST because its query is long
/// let search = Request::post("http://books.test/search").extension(Idempotent(true)).body("title: ...")?;
/// // a GET that spends something
/// let ticket = Request::get("http://books.test/next-ticket").extension(Idempotent(false)).body("")?;
/// # drop((search, ticket));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idempotent(pub bool);

/// Whether a request may be executed twice: decided by the extension, then by the idempotency key, then by the method
/// (RFC 9110, section 9.2.2).
pub(super) fn is_idempotent(head: &Parts) -> bool {
    match head.extensions.get() {
        Some(Idempotent(told)) => *told,
        None => head.method.is_idempotent() || head.headers.contains_key(&IDEMPOTENCY_KEY),
    }
}

/// Whether a request may be executed a second time while the first one is: decided by the extension, then by whether the method is
/// safe. A server may refuse the second request with a key while it executes the first one.
pub(super) fn may_run_beside(head: &Parts) -> bool {
    match head.extensions.get() {
        Some(Idempotent(told)) => *told,
        None => head.method.is_safe(),
    }
}
