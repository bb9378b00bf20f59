//! `Clone` for types that share a state whose key type need not be `Clone`.

/// Clones field by field. A derive would also demand `K: Clone`, although all clones share one keying.
macro_rules! clone_fields {
    ([$($generics:tt)*] $type:ty { $($field:ident),* }) => {
        impl<$($generics)*> Clone for $type {
            fn clone(&self) -> Self {
                Self { $($field: self.$field.clone()),* }
            }
        }
    };
}

pub(crate) use clone_fields;
