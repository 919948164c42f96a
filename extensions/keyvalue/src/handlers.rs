//! Both versions of the interface, as thin conversions over [`crate::store`].
//!
//! The versions share one implementation and one set of Rust types behind their resources: a bucket
//! opened in one version is the same bucket in the other. What differs is stated once for each in
//! the calls of `version!` below: the type of a cursor, and how a page is asked for and continued.

use std::sync::Arc;

use backplane_sdk::{Bytes, Context, Failure, Own};

use self::bindings::wasi::{keyvalue0_2_0_draft as draft, keyvalue0_2_0_draft2 as draft2};
use crate::{
    Error,
    backend::Page,
    store::{Binding, Bucket, Cas, SwapError},
};

pub(crate) mod bindings {
    backplane_sdk::generate!({
        path: ["../../wit/wasi-keyvalue-0.2.0-draft", "../../wit/wasi-keyvalue-0.2.0-draft2", "wit"],
        world: "backplane:keyvalue/provider",
        bytes: "owned",
        resources: {
            "wasi:keyvalue/store/bucket": crate::store::Bucket,
            "wasi:keyvalue/atomics@0.2.0-draft2/cas": crate::store::Cas,
        },
    });
}

/// What a handler returns: the interface's result. Everything that can go wrong here has a case in
/// the interface's error, so that no handler fails but by a panic.
type Answer<T, E> = Result<Result<T, E>, Failure>;

fn answer<T, E: From<Error>>(result: Result<T, Error>) -> Answer<T, E> {
    Ok(result.map_err(E::from))
}

fn owned(keys: Vec<&str>) -> Vec<String> {
    keys.into_iter().map(str::to_owned).collect()
}

/// Implements `store` and `batch` of a version.
macro_rules! version {
    ($version:ident, cursor: $cursor:ty, list: $list:ident, next: $next:expr) => {
        impl From<Error> for $version::store::Error {
            fn from(error: Error) -> Self {
                match error {
                    Error::NoSuchStore(_) => Self::NoSuchStore,
                    Error::AccessDenied(_) => Self::AccessDenied,
                    other => Self::Other(other.to_string()),
                }
            }
        }

        impl $version::store::Handler for Binding {
            async fn open(
                &self,
                cx: &Context,
                identifier: &str,
            ) -> Answer<Own<$version::store::Bucket>, $version::store::Error> {
                answer(self.open(identifier).map(|bucket| cx.own(bucket)))
            }

            async fn bucket_get(
                &self,
                _: &Context,
                this: &Bucket,
                key: &str,
            ) -> Answer<Option<Bytes>, $version::store::Error> {
                answer(this.get(key).await)
            }

            async fn bucket_set(
                &self,
                _: &Context,
                this: &Bucket,
                key: &str,
                value: Bytes,
            ) -> Answer<(), $version::store::Error> {
                answer(this.set(key, value).await)
            }

            async fn bucket_delete(
                &self,
                _: &Context,
                this: &Bucket,
                key: &str,
            ) -> Answer<(), $version::store::Error> {
                answer(this.delete(key).await)
            }

            async fn bucket_exists(
                &self,
                _: &Context,
                this: &Bucket,
                key: &str,
            ) -> Answer<bool, $version::store::Error> {
                answer(this.exists(key).await)
            }

            async fn bucket_list_keys(
                &self,
                _: &Context,
                this: &Bucket,
                cursor: Option<$cursor>,
            ) -> Answer<$version::store::KeyResponse, $version::store::Error> {
                answer(this.$list(cursor).await.map(|page: Page| {
                    let next: fn(&Bucket, &str) -> _ = $next;
                    let cursor = page.next().map(|last| next(this, last));
                    $version::store::KeyResponse { keys: page.keys, cursor }
                }))
            }
        }

        impl $version::batch::Handler for Binding {
            async fn get_many(
                &self,
                _: &Context,
                bucket: &Bucket,
                keys: Vec<&str>,
            ) -> Answer<Vec<Option<(String, Bytes)>>, $version::store::Error> {
                answer(bucket.get_many(owned(keys)).await)
            }

            async fn set_many(
                &self,
                _: &Context,
                bucket: &Bucket,
                key_values: Vec<(&str, Bytes)>,
            ) -> Answer<(), $version::store::Error> {
                let pairs = key_values.into_iter().map(|(key, value)| (key.to_owned(), value));
                answer(bucket.set_many(pairs.collect()).await)
            }

            async fn delete_many(
                &self,
                _: &Context,
                bucket: &Bucket,
                keys: Vec<&str>,
            ) -> Answer<(), $version::store::Error> {
                answer(bucket.delete_many(owned(keys)).await)
            }
        }
    };
}

version!(draft, cursor: u64, list: list_from, next: |bucket, last| bucket.cursor(last));
version!(draft2, cursor: &str, list: list_after, next: |_, last| last.to_owned());

/// Narrows a sum that was checked against the type's range.
fn narrow<N: TryFrom<i128>>(sum: i128) -> Result<N, Error> {
    N::try_from(sum).map_err(|_| Error::CounterOverflow(sum))
}

impl draft::atomics::Handler for Binding {
    async fn increment(
        &self,
        _: &Context,
        bucket: &Bucket,
        key: &str,
        delta: u64,
    ) -> Answer<u64, draft::store::Error> {
        let range = 0..=u64::MAX.into();
        answer(bucket.increment(key, delta.into(), range).await.and_then(narrow))
    }
}

impl draft2::atomics::Handler for Binding {
    async fn increment(
        &self,
        _: &Context,
        bucket: &Bucket,
        key: &str,
        delta: i64,
    ) -> Answer<i64, draft2::store::Error> {
        let range = i64::MIN.into()..=i64::MAX.into();
        answer(bucket.increment(key, delta.into(), range).await.and_then(narrow))
    }

    async fn cas_new(
        &self,
        cx: &Context,
        bucket: &Bucket,
        key: &str,
    ) -> Answer<Own<draft2::atomics::Cas>, draft2::store::Error> {
        answer(bucket.compare(key).await.map(|cas| cx.own(cas)))
    }

    async fn cas_current(
        &self,
        _: &Context,
        this: &Cas,
    ) -> Answer<Option<Bytes>, draft2::store::Error> {
        Ok(Ok(this.current()))
    }

    async fn swap(
        &self,
        cx: &Context,
        cas: Arc<Cas>,
        value: Bytes,
    ) -> Answer<(), draft2::atomics::CasError> {
        Ok(cas.swap(value).await.map_err(|error| match error {
            SwapError::Store(error) => draft2::atomics::CasError::StoreError(error.into()),
            SwapError::Stale(fresh) => draft2::atomics::CasError::CasFailed(cx.own(fresh)),
        }))
    }
}
