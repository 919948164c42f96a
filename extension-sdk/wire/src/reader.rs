//! Taking values off a message that nobody has checked.

use bytes::Bytes;

use crate::{ALIGNED_FROM, Error, Form, MAX_DEPTH, PADDING, Problem, padding};

/// A message being read. Every method takes one value off the front, or says what is wrong with it;
/// none allocates more than the message is long.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    /// The bytes that have not been read.
    rest: &'a [u8],
    form: Form,
    depth: u16,
    /// The buffer that the message lies in, where parts of it may be shared rather than copied.
    owner: Option<&'a Bytes>,
}

macro_rules! integers {
    ($($name:ident $list:ident $ty:ty, $leb:ident;)*) => {$(
        #[doc = concat!("Takes a `", stringify!($ty), "`.")]
        ///
        /// # Errors
        ///
        /// [`Error`] when the message ends, or the integer is too long.
        #[inline]
        pub fn $name(&mut self) -> Result<$ty, Error> {
            // Apart, so that the short way is short enough to be compiled into its callers; and a copy of
            // the reader, so that they may have theirs in registers.
            #[inline(never)]
            fn wrpc(mut reader: Reader<'_>) -> Result<($ty, &[u8]), Error> {
                let start = reader.offset();
                let wide = reader.$leb(<$ty>::BITS)?;
                match <$ty>::try_from(wide) {
                    Ok(value) => Ok((value, reader.rest)),
                    Err(_) => Err(Error { offset: start, problem: Problem::IntegerTooLong }),
                }
            }
            match self.form {
                Form::Local => Ok(<$ty>::from_le_bytes(*self.array()?)),
                Form::Wrpc => {
                    let (value, rest) = wrpc(self.clone())?;
                    self.rest = rest;
                    Ok(value)
                }
            }
        }

        #[doc = concat!("Takes the elements of a `list<", stringify!($ty), ">` of which the length is known.")]
        ///
        /// # Errors
        ///
        /// [`Error`] when the message ends, or an integer is too long.
        pub fn $list(&mut self, length: usize) -> Result<Vec<$ty>, Error> {
            match self.form {
                Form::Local => {
                    const WIDTH: usize = size_of::<$ty>();
                    let bytes = self.block(length.saturating_mul(WIDTH))?;
                    Ok(bytes.as_chunks::<WIDTH>().0.iter().map(|b| <$ty>::from_le_bytes(*b)).collect())
                }
                Form::Wrpc => {
                    let mut values = Vec::with_capacity(length.min(self.rest.len()));
                    for _ in 0..length {
                        values.push(self.$name()?);
                    }
                    Ok(values)
                }
            }
        }
    )*};
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    #[inline]
    pub fn new(bytes: &'a [u8], form: Form) -> Self {
        Self { bytes, rest: bytes, form, depth: 0, owner: None }
    }

    /// Starts at the front of `owner`. A `list<u8>` taken as [`Bytes`] then shares the buffer.
    #[inline]
    pub fn sharing(owner: &'a Bytes, form: Form) -> Self {
        Self { bytes: owner, rest: owner, form, depth: 0, owner: Some(owner) }
    }

    /// How integers are read.
    #[inline]
    pub fn form(&self) -> Form {
        self.form
    }

    /// Bytes read so far.
    #[inline]
    pub fn offset(&self) -> usize {
        self.bytes.len() - self.rest.len()
    }

    /// Bytes not yet read.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Ends the message.
    ///
    /// # Errors
    ///
    /// [`Problem::TrailingBytes`] when there is more.
    #[inline]
    pub fn finish(&self) -> Result<(), Error> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.error(Problem::TrailingBytes(self.rest.len())))
        }
    }

    /// An error at the place where the reader stands.
    #[inline]
    pub fn error(&self, problem: Problem) -> Error {
        Error { offset: self.offset(), problem }
    }

    /// Enters a value that may hold others; pair it with [`ascend`](Self::ascend).
    ///
    /// # Errors
    ///
    /// [`Problem::TooDeep`] beyond [`MAX_DEPTH`].
    #[inline]
    pub fn descend(&mut self) -> Result<(), Error> {
        if self.depth >= MAX_DEPTH {
            return Err(self.error(Problem::TooDeep));
        }
        self.depth += 1;
        Ok(())
    }

    /// Leaves a value entered with [`descend`](Self::descend).
    #[inline]
    pub fn ascend(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    integers! {
        u16 u16s u16, leb_u64;
        u32 u32s u32, leb_u64;
        u64 u64s u64, leb_u64;
        s16 s16s i16, leb_s64;
        s32 s32s i32, leb_s64;
        s64 s64s i64, leb_s64;
    }

    /// Takes a byte.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    #[inline]
    pub fn u8(&mut self) -> Result<u8, Error> {
        let [byte] = *self.array()?;
        Ok(byte)
    }

    /// Takes an `s8`.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    #[inline]
    pub fn s8(&mut self) -> Result<i8, Error> {
        Ok(i8::from_le_bytes(*self.array()?))
    }

    /// Takes a byte that is `0` or `1`: a `bool`, or the case of an option or result.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends, or the byte is another.
    #[inline]
    pub fn bool(&mut self) -> Result<bool, Error> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Error { offset: self.offset() - 1, problem: Problem::NotABool(other) }),
        }
    }

    /// Takes an `f32`, its bits unchanged.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    #[inline]
    pub fn f32(&mut self) -> Result<f32, Error> {
        Ok(f32::from_bits(u32::from_le_bytes(*self.array()?)))
    }

    /// Takes an `f64`, its bits unchanged.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    #[inline]
    pub fn f64(&mut self) -> Result<f64, Error> {
        Ok(f64::from_bits(u64::from_le_bytes(*self.array()?)))
    }

    /// Takes the elements of a `list<f32>` of which the length is known.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    pub fn f32s(&mut self, length: usize) -> Result<Vec<f32>, Error> {
        let bytes = self.block(length.saturating_mul(size_of::<f32>()))?;
        let numbers = bytes.as_chunks().0.iter().map(|bits| u32::from_le_bytes(*bits));
        Ok(numbers.map(f32::from_bits).collect())
    }

    /// Takes the elements of a `list<f64>` of which the length is known.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    pub fn f64s(&mut self, length: usize) -> Result<Vec<f64>, Error> {
        let bytes = self.block(length.saturating_mul(size_of::<f64>()))?;
        let numbers = bytes.as_chunks().0.iter().map(|bits| u64::from_le_bytes(*bits));
        Ok(numbers.map(f64::from_bits).collect())
    }

    /// Takes the elements of a `list<s8>` of which the length is known.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    pub fn s8s(&mut self, length: usize) -> Result<Vec<i8>, Error> {
        Ok(bytemuck::cast_slice(self.block(length)?).to_vec())
    }

    /// Takes a `char`.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends, or the bytes are not one UTF-8 sequence.
    #[inline]
    pub fn char(&mut self) -> Result<char, Error> {
        match self.rest.split_first() {
            Some((&ascii, rest)) if ascii < 0x80 => {
                self.rest = rest;
                Ok(char::from(ascii))
            }
            Some(_) | None => {
                let (value, rest) = self.clone().wide_char()?;
                self.rest = rest;
                Ok(value)
            }
        }
    }

    #[inline(never)]
    fn wide_char(mut self) -> Result<(char, &'a [u8]), Error> {
        let width = match self.rest.first() {
            Some(0x00..=0x7f) | None => 1,
            Some(0xc0..=0xdf) => 2,
            Some(0xe0..=0xef) => 3,
            Some(_) => 4,
        };
        let start = self.offset();
        let bytes = self.raw(width)?;
        match std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next()) {
            Some(value) => Ok((value, self.rest)),
            None => Err(Error { offset: start, problem: Problem::NotAChar }),
        }
    }

    /// Takes a `string`, borrowed from the message.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends, or the string is not UTF-8.
    #[inline]
    pub fn string(&mut self) -> Result<&'a str, Error> {
        let start = self.offset();
        let bytes = self.byte_list()?;
        std::str::from_utf8(bytes).map_err(|_| Error { offset: start, problem: Problem::NotUtf8 })
    }

    /// Takes a `list<u8>`, borrowed from the message.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    #[inline]
    pub fn byte_list(&mut self) -> Result<&'a [u8], Error> {
        let length = self.length()?;
        self.block(length)
    }

    /// Takes a block: the bytes of a string, or the elements of a list of numbers as they are in the
    /// local form.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends, or the bytes skipped before the block are not zero.
    #[inline]
    pub fn block(&mut self, length: usize) -> Result<&'a [u8], Error> {
        if length >= ALIGNED_FROM {
            self.rest = self.clone().skip(length)?;
        }
        self.raw(length)
    }

    /// What comes after the bytes that are skipped before a long block.
    #[inline(never)]
    fn skip(mut self, length: usize) -> Result<&'a [u8], Error> {
        let start = self.offset();
        let padding = padding(self.form, start, length);
        if Some(self.raw(padding)?) == PADDING.get(..padding) {
            Ok(self.rest)
        } else {
            Err(Error { offset: start, problem: Problem::BadPadding })
        }
    }

    /// How many elements of `width` bytes are left, for a list that is the whole message.
    #[inline]
    pub(crate) fn whole(&self, width: usize) -> usize {
        self.rest.len().checked_div(width).unwrap_or_default()
    }

    /// Takes a `list<u8>` that outlives the message: a share of its buffer where the reader was made
    /// by [`sharing`](Self::sharing), else a copy.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    #[inline]
    pub fn shared_byte_list(&mut self) -> Result<Bytes, Error> {
        let bytes = self.byte_list()?;
        Ok(self.share(bytes))
    }

    /// Bytes of the message that outlive it.
    #[inline]
    pub(crate) fn share(&self, bytes: &'a [u8]) -> Bytes {
        match self.owner {
            Some(owner) => owner.slice_ref(bytes),
            None => Bytes::copy_from_slice(bytes),
        }
    }

    /// Takes the next `length` bytes as they are.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    #[inline]
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], Error> {
        match self.rest.split_at_checked(length) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(truncated(self.offset(), length, self.rest.len())),
        }
    }

    /// Takes the length of a list or string. Every element has at least a byte, so a length beyond
    /// the message is refused here, before anything is allocated for it.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends, or is shorter than the list.
    #[inline]
    pub fn length(&mut self) -> Result<usize, Error> {
        let start = self.offset();
        let length = self.leb_u64(32)?;
        let length = usize::try_from(length)
            .map_err(|_| Error { offset: start, problem: Problem::IntegerTooLong })?;
        if length > self.rest.len() {
            let problem = Problem::ListTooLong { elements: length, left: self.rest.len() };
            return Err(Error { offset: start, problem });
        }
        Ok(length)
    }

    /// Takes the discriminant of a variant or enum with `cases` cases.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends, or the type has no such case.
    #[inline]
    pub fn discriminant(&mut self, cases: u32) -> Result<u32, Error> {
        let start = self.offset();
        let case = self.leb_u64(32)? as u32;
        if case >= cases {
            return Err(Error { offset: start, problem: Problem::NoSuchCase { case, cases } });
        }
        Ok(case)
    }

    /// Takes a resource handle, eight opaque bytes.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends, or the handle has another length.
    #[inline]
    pub fn handle(&mut self) -> Result<u64, Error> {
        let start = self.offset();
        let bytes = self.byte_list()?;
        match bytes.try_into() {
            Ok(bytes) => Ok(u64::from_le_bytes(bytes)),
            Err(_) => Err(Error { offset: start, problem: Problem::BadHandle }),
        }
    }

    /// Takes the next `N` bytes as they are.
    ///
    /// # Errors
    ///
    /// [`Error`] when the message ends.
    #[inline]
    pub fn array<const N: usize>(&mut self) -> Result<&'a [u8; N], Error> {
        match self.rest.split_first_chunk() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => Err(truncated(self.offset(), N, self.rest.len())),
        }
    }

    /// An unsigned LEB128 integer of at most `bits` bits.
    #[inline]
    fn leb_u64(&mut self, bits: u32) -> Result<u64, Error> {
        if let Some((&byte, rest)) = self.rest.split_first()
            && byte < 0x80
        {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        let (value, rest) = self.clone().leb_u64_long(bits)?;
        self.rest = rest;
        Ok(value)
    }

    /// The same, of any length.
    #[inline(never)]
    fn leb_u64_long(mut self, bits: u32) -> Result<(u64, &'a [u8]), Error> {
        let start = self.offset();
        let too_long = Error { offset: start, problem: Problem::IntegerTooLong };
        let (mut value, mut shift) = (0_u64, 0_u32);
        loop {
            let byte = self.u8()?;
            let payload = u64::from(byte & 0x7f);
            // The last byte may hold only the bits that are left.
            if shift >= bits || (bits - shift < 7 && payload >> (bits - shift) != 0) {
                return Err(too_long);
            }
            value |= payload << shift;
            if byte & 0x80 == 0 {
                return Ok((value, self.rest));
            }
            shift += 7;
        }
    }

    /// A signed LEB128 integer of at most `bits` bits.
    #[inline]
    fn leb_s64(&mut self, bits: u32) -> Result<i64, Error> {
        let start = self.offset();
        let too_long = Error { offset: start, problem: Problem::IntegerTooLong };
        let (mut value, mut shift) = (0_i64, 0_u32);
        loop {
            let byte = self.u8()?;
            if shift >= bits {
                return Err(too_long);
            }
            let payload = i64::from(byte & 0x7f);
            value |= payload << shift;
            let used = shift + 7;
            if byte & 0x80 == 0 {
                if used >= 64 {
                    // Bit 63 came in the tenth byte: the other bits must repeat it.
                    return match byte {
                        0x00 | 0x7f => Ok(value),
                        _ => Err(too_long),
                    };
                }
                return Ok((value << (64 - used)) >> (64 - used));
            }
            shift = used;
        }
    }
}

#[cold]
fn truncated(offset: usize, needed: usize, left: usize) -> Error {
    Error { offset, problem: Problem::Truncated { needed, left } }
}
