//! Appending values to a message.

use crate::{ALIGNED_FROM, Form, PADDING, padding};

/// A message being written. Every method appends one value and cannot fail.
#[derive(Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
    form: Form,
}

macro_rules! integers {
    ($($name:ident $list:ident $ty:ty, $leb:ident as $wide:ty;)*) => {$(
        #[doc = concat!("Appends a `", stringify!($ty), "`.")]
        #[inline]
        pub fn $name(&mut self, value: $ty) {
            match self.form {
                Form::Local => self.bytes.extend_from_slice(&value.to_le_bytes()),
                Form::Wrpc => self.$leb(<$wide>::from(value)),
            }
        }

        #[doc = concat!("Appends the elements of a `list<", stringify!($ty), ">`, without its length.")]
        pub fn $list(&mut self, values: &[$ty]) {
            match self.form {
                Form::Local if cfg!(target_endian = "little") => {
                    self.block(bytemuck::must_cast_slice(values));
                }
                Form::Local => {
                    self.align_block(size_of_val(values));
                    self.bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                }
                Form::Wrpc => {
                    self.bytes.reserve(values.len());
                    for value in values {
                        self.$leb(<$wide>::from(*value));
                    }
                }
            }
        }
    )*};
}

impl Writer {
    /// An empty message.
    #[inline]
    pub fn new(form: Form) -> Self {
        Self { bytes: Vec::new(), form }
    }

    /// An empty message with room for `capacity` bytes.
    #[inline]
    pub fn with_capacity(form: Form, capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), form }
    }

    /// A message that goes on after `bytes`, reusing their allocation.
    #[inline]
    pub fn append_to(bytes: Vec<u8>, form: Form) -> Self {
        Self { bytes, form }
    }

    /// How integers are written.
    #[inline]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Bytes written so far.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing has been written.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that it has room for altogether.
    #[inline]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for `additional` bytes.
    #[inline]
    pub fn reserve(&mut self, additional: usize) {
        self.bytes.reserve(additional);
    }

    /// The message.
    #[inline]
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes
    }

    /// What has been written, to be patched in place.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    integers! {
        u16 u16s u16, leb_u64 as u64;
        u32 u32s u32, leb_u64 as u64;
        u64 u64s u64, leb_u64 as u64;
        s16 s16s i16, leb_s64 as i64;
        s32 s32s i32, leb_s64 as i64;
        s64 s64s i64, leb_s64 as i64;
    }

    /// Appends a byte: a `u8`, or the bits of an `s8`.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends an `s8`.
    #[inline]
    pub fn s8(&mut self, value: i8) {
        self.bytes.push(value.to_le_bytes()[0]);
    }

    /// Appends a `bool`.
    #[inline]
    pub fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    /// Appends an `f32`, its bits unchanged.
    #[inline]
    pub fn f32(&mut self, value: f32) {
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// Appends an `f64`, its bits unchanged.
    #[inline]
    pub fn f64(&mut self, value: f64) {
        self.bytes.extend_from_slice(&value.to_bits().to_le_bytes());
    }

    /// Appends a `char`: its UTF-8 bytes.
    #[inline]
    pub fn char(&mut self, value: char) {
        if value.is_ascii() {
            return self.bytes.push(value as u8);
        }
        let mut buffer = [0; 4];
        self.bytes.extend_from_slice(value.encode_utf8(&mut buffer).as_bytes());
    }

    /// Appends the elements of a `list<f32>`, without its length.
    pub fn f32s(&mut self, values: &[f32]) {
        self.align_block(size_of_val(values));
        self.bytes.extend(values.iter().flat_map(|value| value.to_bits().to_le_bytes()));
    }

    /// Appends the elements of a `list<f64>`, without its length.
    pub fn f64s(&mut self, values: &[f64]) {
        self.align_block(size_of_val(values));
        self.bytes.extend(values.iter().flat_map(|value| value.to_bits().to_le_bytes()));
    }

    /// Appends the elements of a `list<s8>`, without its length.
    pub fn s8s(&mut self, values: &[i8]) {
        self.block(bytemuck::must_cast_slice(values));
    }

    /// Appends a `string`.
    #[inline]
    pub fn string(&mut self, value: &str) {
        self.byte_list(value.as_bytes());
    }

    /// Appends a `list<u8>`.
    #[inline]
    pub fn byte_list(&mut self, value: &[u8]) {
        self.length(value.len());
        self.block(value);
    }

    /// Appends a block: the bytes of a string, or the elements of a list of numbers as they are in
    /// the local form.
    #[inline]
    pub fn block(&mut self, bytes: &[u8]) {
        if bytes.len() >= ALIGNED_FROM {
            self.align_block(bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Makes room for a block, and skips to where it begins.
    #[cold]
    fn align_block(&mut self, length: usize) {
        let padding = padding(self.form, self.bytes.len(), length);
        self.bytes.reserve(padding + length);
        self.bytes.extend_from_slice(PADDING.get(..padding).unwrap_or_default());
    }

    /// Appends bytes as they are, with no length before them.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Appends the first `length` bytes of what `fill` makes of an array of zeroes. For several values
    /// of a few bytes each: room for them is looked for once.
    #[inline]
    pub fn fixed<const ROOM: usize>(&mut self, length: usize, fill: impl FnOnce(&mut [u8; ROOM])) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; ROOM]);
        if let Some(room) = self.bytes.last_chunk_mut() {
            fill(room);
        }
        self.bytes.truncate(start + length.min(ROOM));
    }

    /// Appends the length of a list or string.
    #[inline]
    pub fn length(&mut self, length: usize) {
        self.leb_u64(length as u64);
    }

    /// Appends the discriminant of a variant or enum.
    #[inline]
    pub fn discriminant(&mut self, case: u32) {
        self.leb_u64(u64::from(case));
    }

    /// Appends a resource handle, eight opaque bytes.
    #[inline]
    pub fn handle(&mut self, handle: u64) {
        self.bytes.push(8);
        self.bytes.extend_from_slice(&handle.to_le_bytes());
    }

    #[inline]
    fn leb_u64(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    #[inline]
    fn leb_s64(&mut self, mut value: i64) {
        while !(-0x40..0x40).contains(&value) {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8 & 0x7f);
    }
}
