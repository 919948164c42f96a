//! How a value lies in the wrapped store: encrypted, and bound to the place where it lies.
//!
//! `1`, the length of the key's name, that name, the nonce (24 bytes), then the ciphertext with its tag. The nonce is
//! random: XChaCha20's is long enough for that. Associated data are the format's number, the key's name, the bucket
//! and the entry's key, each of the texts behind its length: a value that is moved to another place, or is said to be
//! under another key, is not accepted.

use std::collections::BTreeMap;

use chacha20poly1305::{
    AeadInOut as _, KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};

/// The format that is written.
const FORMAT: u8 = 1;
const NONCE: usize = 24;
const KEY: usize = 32;

/// The keys, by name, and which of them encrypts.
pub(crate) struct Keys {
    active: String,
    all: BTreeMap<String, XChaCha20Poly1305>,
}

impl Keys {
    /// Reads the config: `active` names a key, `keys.NAME` is one, in hexadecimal digits.
    pub(crate) fn read(config: &[(String, String)]) -> Result<Self, String> {
        let mut active = None;
        let mut all = BTreeMap::new();
        for (name, value) in config {
            match name.strip_prefix("keys.") {
                Some(name) if !name.is_empty() && name.len() <= usize::from(u8::MAX) => {
                    let key = hex::decode(value.trim()).ok().filter(|key| key.len() == KEY);
                    let key = key.and_then(|key| XChaCha20Poly1305::new_from_slice(&key).ok());
                    let Some(key) = key else {
                        return Err(format!(
                            "config `keys.{name}` is not a key; expected 64 hexadecimal digits, such as `openssl rand -hex 32` prints"
                        ));
                    };
                    all.insert(name.to_owned(), key);
                }
                Some(name) => {
                    return Err(format!(
                        "config has a key of the name `{name}`; expected 1 to 255 bytes"
                    ));
                }
                None if name == "active" => active = Some(value.clone()),
                None => {
                    return Err(format!("config has `{name}`; expected `active` and `keys`"));
                }
            }
        }
        let active =
            active.ok_or("config has no `active`; expected the name of the key to encrypt with")?;
        if !all.contains_key(&active) {
            let known: Vec<_> = all.keys().map(|name| format!("`{name}`")).collect();
            return Err(format!(
                "config `active` is `{active}`, and `keys` has no such key; it has {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            ));
        }
        Ok(Self { active, all })
    }

    /// Encrypts a value for its place, with the active key. `nonce` must be random.
    pub(crate) fn seal(
        &self,
        bucket: &str,
        key: &str,
        value: &[u8],
        nonce: [u8; NONCE],
    ) -> Result<Vec<u8>, String> {
        let cipher = self.all.get(&self.active).ok_or("the active key is gone")?;
        let name = self.active.as_bytes();
        let mut sealed = Vec::with_capacity(2 + name.len() + NONCE + value.len() + 16);
        sealed.push(FORMAT);
        sealed.push(u8::try_from(name.len()).map_err(|_| "the key's name is too long")?);
        sealed.extend_from_slice(name);
        sealed.extend_from_slice(&nonce);
        let aad = associated(&self.active, bucket, key);
        let mut text = value.to_vec();
        cipher
            .encrypt_in_place(&XNonce::from(nonce), &aad, &mut text)
            .map_err(|_| "the value is too long to be encrypted")?;
        sealed.append(&mut text);
        Ok(sealed)
    }

    /// Decrypts what lies at a place, with the key that it names.
    pub(crate) fn open(&self, bucket: &str, key: &str, sealed: &[u8]) -> Result<Vec<u8>, String> {
        let damaged = || format!("what lies under `{key}` was not encrypted by this extension");
        let Some((&FORMAT, rest)) = sealed.split_first() else { return Err(damaged()) };
        let (length, rest) = rest.split_first().ok_or_else(damaged)?;
        let (name, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(damaged)?;
        let name = std::str::from_utf8(name).map_err(|_| damaged())?;
        let (nonce, text) = rest.split_first_chunk::<NONCE>().ok_or_else(damaged)?;
        let Some(cipher) = self.all.get(name) else {
            return Err(format!(
                "what lies under `{key}` is encrypted with the key `{name}`, which config does not have; keep it in `keys` until all is encrypted anew"
            ));
        };
        let aad = associated(name, bucket, key);
        cipher.decrypt(&XNonce::from(*nonce), Payload { msg: text, aad: &aad }).map_err(|_| {
            format!(
                "what lies under `{key}` cannot be decrypted with the key `{name}`: it was changed or moved, or the key is another"
            )
        })
    }
}

fn associated(name: &str, bucket: &str, key: &str) -> Vec<u8> {
    let mut aad = vec![FORMAT];
    for text in [name, bucket, key] {
        aad.extend_from_slice(&(text.len() as u64).to_le_bytes());
        aad.extend_from_slice(text.as_bytes());
    }
    aad
}
