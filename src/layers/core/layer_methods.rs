//! The public methods that layers share. They are inherent, so that users need not import a trait, and only a macro writes inherent
//! methods once for several types. What they do is in [`LayerCore`](super::LayerCore).

/// Gives a layer with a field `core` what every layer has: a name, a limit on calls that wait for readiness, reloads, and `Debug`.
macro_rules! layer_methods {
    ($layer:ident<$($param:ident $(: $bound:path)?),*>, $config:ty) => {
        impl<$($param $(: $bound)?),*> $layer<$($param),*> {
            /// Names the layer. The name appears in refusals, logs and metrics, and in the [`registry`](crate::registry) of the
            /// process.
            ///
            /// # Errors
            /// If the name is empty, longer than 128 bytes, or taken by another layer of this kind; or if the layer already has a
            /// name.
            pub fn named(self, name: &str) -> Result<Self, crate::ground::error::InvalidConfig> {
                self.named_in(crate::admission::registry::Registry::global(), name)
            }

            /// As [`named`](Self::named), in another registry.
            ///
            /// # Errors
            /// As [`named`](Self::named).
            pub fn named_in(
                self,
                registry: &crate::admission::registry::Registry,
                name: &str,
            ) -> Result<Self, crate::ground::error::InvalidConfig> {
                self.core.register(registry, name)?;
                Ok(self)
            }

            /// Lets no more than `max` calls wait at once for an inner service that is not ready; without this, 1024. A call
            /// too many fails with [`Reason::NotReady`](crate::error::Reason::NotReady).
            ///
            /// It holds at once for all clones of this value, and all services made by them.
            #[must_use]
            pub fn with_max_unready(self, max: u32) -> Self {
                self.core.set_max_unready(max);
                self
            }

            /// Applies `config` to all clones of this value, all services made by them and all keys. The [module](super#reload)
            /// says when each setting takes effect, and which state survives.
            ///
            /// Calls and reloads never wait for each other. The first call of each service after a reload loads the new settings.
            ///
            /// # Errors
            /// As [`new`](Self::new); all faults are listed, and nothing changes.
            pub fn reload(&self, config: &$config) -> Result<(), crate::ground::error::InvalidConfig> {
                self.core.reload(config)
            }

            /// The config in force. What was set by other means, such as a handle, is not part of it.
            pub fn config(&self) -> $config {
                self.core.config()
            }
        }

        impl<$($param $(: $bound)?),*> std::fmt::Debug for $layer<$($param),*> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($layer)).field("config", &self.config()).finish_non_exhaustive()
            }
        }
    };
}

/// Gives a layer a state for each key. The brackets hold the parameters before and after the keying, the braces the other fields.
macro_rules! keyed_methods {
    (
        $(#[$doc:meta])*
        $layer:ident<[$($before:ident),*] K [$($after:ident),*]> { $($field:ident),* }
    ) => {
        impl<$($before,)* K: crate::admission::keyed::Keying $(, $after)*> $layer<$($before,)* K $(, $after)*> {
            $(#[$doc])*
            pub fn keyed_by<Request, Key, F>(
                self,
                key: F,
            ) -> $layer<$($before,)* crate::admission::keyed::ByKey<F, Key> $(, $after)*>
            where
                F: Fn(&Request) -> Key + Send + Sync + 'static,
                Key: std::hash::Hash + Eq + Send + Sync + 'static,
            {
                self.with_keying(crate::admission::keyed::ByKey::new(key))
            }

            /// As [`keyed_by`](Self::keyed_by), for a type that implements [`KeyBy`](crate::keyed::KeyBy).
            pub fn with_keying<L: crate::admission::keyed::Keying>(
                self,
                keying: L,
            ) -> $layer<$($before,)* L $(, $after)*> {
                $layer { core: self.core.map(|state, parts| state.with_keying(parts, keying)), $($field: self.$field),* }
            }
        }
    };
}

pub(crate) use {keyed_methods, layer_methods};
