//! `get_ref`, `get_mut` and `into_inner` of our services, as those of tower-http have them.

/// Gives a service these methods. Its `inner` is an [`Inner`](super::inner::Inner), or the service itself if it says
/// `forwards_readiness`.
macro_rules! accessors {
    ([$($generics:tt)*] $service:ty) => {
        impl<$($generics)*> $service {
            /// The inner service.
            pub fn get_ref(&self) -> &S {
                self.inner.get_ref()
            }

            /// The inner service. Whatever is done to it, it is polled for readiness again before the next call.
            pub fn get_mut(&mut self) -> &mut S {
                self.inner.get_mut()
            }

            /// Consumes this service, and returns the inner one.
            pub fn into_inner(self) -> S {
                self.inner.into_inner()
            }
        }
    };
    ([$($generics:tt)*] $service:ty, forwards_readiness) => {
        impl<$($generics)*> $service {
            /// The inner service.
            pub fn get_ref(&self) -> &S {
                &self.inner
            }

            /// The inner service. If another one is put in its place, poll this service for readiness again before a call.
            pub fn get_mut(&mut self) -> &mut S {
                &mut self.inner
            }

            /// Consumes this service, and returns the inner one.
            pub fn into_inner(self) -> S {
                self.inner
            }
        }
    };
}

pub(crate) use accessors;
