//! `wasi:keyvalue` over another `wasi:keyvalue`: what lies there is encrypted.
//!
//! A component that knows nothing of the host: it exports what it imports, and reads its keys from `wasi:config`.
//! `seal` has the format of a value.

mod seal;

use std::cell::RefCell;

use wasip2::random::random::get_random_bytes;

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package backplane:encrypted-keyvalue;
            world extension {
                import wasi:config/store@0.2.0-rc.1;
                import wasi:keyvalue/store@0.2.0-draft2;
                import wasi:keyvalue/atomics@0.2.0-draft2;
                import wasi:keyvalue/batch@0.2.0-draft2;
                export wasi:keyvalue/store@0.2.0-draft2;
                export wasi:keyvalue/atomics@0.2.0-draft2;
                export wasi:keyvalue/batch@0.2.0-draft2;
            }
        ",
        path: ["../../wit/wasi-keyvalue-0.2.0-draft2", "../../wit/wasi-config-0.2.0-rc.1"],
        generate_all,
    });
}

use bindings::{
    exports::wasi::keyvalue::{
        atomics::{self, Cas, CasError, GuestCas},
        batch,
        store::{self, Bucket, BucketBorrow, Error, GuestBucket, KeyResponse},
    },
    wasi::{
        config::store as config,
        keyvalue::{atomics as inner_atomics, batch as inner_batch, store as inner},
    },
};
use seal::Keys;

struct Encrypted;

bindings::export!(Encrypted with_types_in bindings);

thread_local! {
    /// Read when they are first needed: a component has no other start.
    static KEYS: RefCell<Option<Keys>> = const { RefCell::new(None) };
}

/// Attempts to add to a number that others change at the same time.
const ATTEMPTS: usize = 100;

fn with_keys<R>(with: impl FnOnce(&Keys) -> Result<R, String>) -> Result<R, Error> {
    KEYS.with_borrow_mut(|kept| {
        let keys = match kept {
            Some(keys) => keys,
            None => {
                let all =
                    config::get_all().map_err(|error| format!("config cannot be read: {error:?}"));
                kept.insert(all.and_then(|all| Keys::read(&all)).map_err(Error::Other)?)
            }
        };
        with(keys).map_err(Error::Other)
    })
}

/// A bucket of the wrapped store, and what it is called.
struct Place {
    bucket: inner::Bucket,
    name: String,
}

impl Place {
    fn seal(&self, key: &str, value: &[u8]) -> Result<Vec<u8>, Error> {
        seal(&self.name, key, value)
    }

    fn unseal(&self, key: &str, sealed: &[u8]) -> Result<Vec<u8>, Error> {
        with_keys(|keys| keys.open(&self.name, key, sealed))
    }
}

fn seal(bucket: &str, key: &str, value: &[u8]) -> Result<Vec<u8>, Error> {
    let random = get_random_bytes(24);
    with_keys(|keys| {
        let nonce =
            random.as_slice().try_into().map_err(|_| "the host gave too few random bytes")?;
        keys.seal(bucket, key, value, nonce)
    })
}

fn outer(error: inner::Error) -> Error {
    match error {
        inner::Error::NoSuchStore => Error::NoSuchStore,
        inner::Error::AccessDenied => Error::AccessDenied,
        inner::Error::Other(message) => Error::Other(message),
    }
}

impl store::Guest for Encrypted {
    type Bucket = Place;

    fn open(identifier: String) -> Result<Bucket, Error> {
        // What is wrong with the config shows here, before anything is written.
        with_keys(|_| Ok(()))?;
        let bucket = inner::open(&identifier).map_err(outer)?;
        // The empty identifier is another name of the default bucket.
        let name = if identifier.is_empty() { "default".to_owned() } else { identifier };
        Ok(Bucket::new(Place { bucket, name }))
    }
}

impl GuestBucket for Place {
    fn get(&self, key: String) -> Result<Option<Vec<u8>>, Error> {
        let sealed = self.bucket.get(&key).map_err(outer)?;
        sealed.map(|sealed| self.unseal(&key, &sealed)).transpose()
    }

    fn set(&self, key: String, value: Vec<u8>) -> Result<(), Error> {
        self.bucket.set(&key, &self.seal(&key, &value)?).map_err(outer)
    }

    fn delete(&self, key: String) -> Result<(), Error> {
        self.bucket.delete(&key).map_err(outer)
    }

    fn exists(&self, key: String) -> Result<bool, Error> {
        self.bucket.exists(&key).map_err(outer)
    }

    fn list_keys(&self, cursor: Option<String>) -> Result<KeyResponse, Error> {
        let page = self.bucket.list_keys(cursor.as_deref()).map_err(outer)?;
        Ok(KeyResponse { keys: page.keys, cursor: page.cursor })
    }
}

/// A compare-and-swap of the wrapped store, with where it is.
struct Swap {
    cas: inner_atomics::Cas,
    bucket: String,
    key: String,
}

impl Swap {
    fn begin(place: &Place, key: String) -> Result<Self, Error> {
        let cas = inner_atomics::Cas::new(&place.bucket, &key).map_err(outer)?;
        Ok(Self { cas, bucket: place.name.clone(), key })
    }

    fn current(&self) -> Result<Option<Vec<u8>>, Error> {
        let sealed = self.cas.current().map_err(outer)?;
        let open = |sealed: Vec<u8>| with_keys(|keys| keys.open(&self.bucket, &self.key, &sealed));
        sealed.map(open).transpose()
    }

    /// Swaps, or comes back with the key as it has become.
    fn swap(self, value: &[u8]) -> Result<Result<(), Self>, Error> {
        let Self { cas, bucket, key } = self;
        let sealed = seal(&bucket, &key, value)?;
        match inner_atomics::swap(cas, &sealed) {
            Ok(()) => Ok(Ok(())),
            Err(inner_atomics::CasError::StoreError(error)) => Err(outer(error)),
            Err(inner_atomics::CasError::CasFailed(cas)) => Ok(Err(Self { cas, bucket, key })),
        }
    }
}

impl GuestCas for Swap {
    fn new(bucket: BucketBorrow<'_>, key: String) -> Result<Cas, Error> {
        Ok(Cas::new(Self::begin(bucket.get(), key)?))
    }

    fn current(&self) -> Result<Option<Vec<u8>>, Error> {
        Self::current(self)
    }
}

impl atomics::Guest for Encrypted {
    type Cas = Swap;

    fn increment(bucket: BucketBorrow<'_>, key: String, delta: i64) -> Result<i64, Error> {
        let mut swap = Swap::begin(bucket.get(), key)?;
        for _ in 0..ATTEMPTS {
            let sum = number(swap.current()?)?.checked_add(delta);
            let sum = sum.ok_or_else(|| Error::Other("the sum is no 64-bit number".to_owned()))?;
            match swap.swap(sum.to_string().as_bytes())? {
                Ok(()) => return Ok(sum),
                Err(changed) => swap = changed,
            }
        }
        Err(Error::Other(format!("others changed the number {ATTEMPTS} times meanwhile")))
    }

    fn swap(cas: Cas, value: Vec<u8>) -> Result<(), CasError> {
        match cas.into_inner::<Swap>().swap(&value) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(changed)) => Err(CasError::CasFailed(Cas::new(changed))),
            Err(error) => Err(CasError::StoreError(error)),
        }
    }
}

/// A number as `increment` keeps it: decimal digits.
fn number(value: Option<Vec<u8>>) -> Result<i64, Error> {
    let Some(value) = value else { return Ok(0) };
    let number = std::str::from_utf8(&value).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| Error::Other("the value is not a number".to_owned()))
}

impl batch::Guest for Encrypted {
    fn get_many(
        bucket: BucketBorrow<'_>,
        keys: Vec<String>,
    ) -> Result<Vec<Option<(String, Vec<u8>)>>, Error> {
        let place = bucket.get::<Place>();
        let found = inner_batch::get_many(&place.bucket, &keys).map_err(outer)?;
        let open = |(key, sealed): (String, Vec<u8>)| {
            let value = place.unseal(&key, &sealed)?;
            Ok((key, value))
        };
        found.into_iter().map(|entry| entry.map(open).transpose()).collect()
    }

    fn set_many(bucket: BucketBorrow<'_>, entries: Vec<(String, Vec<u8>)>) -> Result<(), Error> {
        let place = bucket.get::<Place>();
        let seal = |(key, value): (String, Vec<u8>)| {
            let sealed = place.seal(&key, &value)?;
            Ok((key, sealed))
        };
        let sealed = entries.into_iter().map(seal).collect::<Result<Vec<_>, Error>>()?;
        inner_batch::set_many(&place.bucket, &sealed).map_err(outer)
    }

    fn delete_many(bucket: BucketBorrow<'_>, keys: Vec<String>) -> Result<(), Error> {
        inner_batch::delete_many(&bucket.get::<Place>().bucket, &keys).map_err(outer)
    }
}
