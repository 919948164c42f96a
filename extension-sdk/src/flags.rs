//! Flags of any width.

/// Defines a flags type: a set of bits, little-endian as on the wire. The generated code's.
#[doc(hidden)]
#[macro_export]
macro_rules! __flags {
    (pub struct $name:ident: $count:literal flags in $bytes:literal bytes {
        $($(#[$doc:meta])* $flag:ident = $number:literal;)*
    }) => {
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; $bytes]);

        impl $name {
            $($(#[$doc])* pub const $flag: Self = Self::single($number);)*

            const fn single(number: usize) -> Self {
                let mut bits = [0; $bytes];
                bits[number / 8] = 1 << (number % 8);
                Self(bits)
            }

            /// No flag.
            pub const fn empty() -> Self {
                Self([0; $bytes])
            }

            /// Every flag.
            pub const fn all() -> Self {
                let mut bits = [0xff; $bytes];
                if $count % 8 != 0 {
                    bits[$bytes - 1] = (1 << ($count % 8)) - 1;
                }
                Self(bits)
            }

            /// The bits, the first flag the lowest of the first byte.
            pub const fn bits(self) -> [u8; $bytes] {
                self.0
            }

            /// Whether no flag is set.
            pub fn is_empty(self) -> bool {
                self == Self::empty()
            }

            /// Whether every flag of `other` is set.
            pub fn contains(self, other: Self) -> bool {
                self & other == other
            }

            /// Sets the flags of `other`.
            pub fn insert(&mut self, other: Self) {
                *self = *self | other;
            }

            /// Clears the flags of `other`.
            pub fn remove(&mut self, other: Self) {
                *self = *self & !other;
            }
        }

        impl ::core::ops::BitOr for $name {
            type Output = Self;

            fn bitor(self, other: Self) -> Self {
                Self(::core::array::from_fn(|index| self.0[index] | other.0[index]))
            }
        }

        impl ::core::ops::BitAnd for $name {
            type Output = Self;

            fn bitand(self, other: Self) -> Self {
                Self(::core::array::from_fn(|index| self.0[index] & other.0[index]))
            }
        }

        impl ::core::ops::Not for $name {
            type Output = Self;

            fn not(self) -> Self {
                let all = Self::all();
                Self(::core::array::from_fn(|index| !self.0[index] & all.0[index]))
            }
        }

        impl $crate::wire::Encode for $name {
            #[inline]
            fn encode(&self, writer: &mut $crate::wire::Writer) {
                writer.raw(&self.0);
            }

            #[inline]
            fn size_hint(&self) -> usize {
                $bytes
            }
        }

        impl<'a> $crate::wire::Decode<'a> for $name {
            #[inline]
            fn decode(
                reader: &mut $crate::wire::Reader<'a>,
            ) -> ::core::result::Result<Self, $crate::wire::Error> {
                let mut bits = [0; $bytes];
                bits.copy_from_slice(reader.raw($bytes)?);
                let flags = Self(bits);
                if (flags & Self::all()) == flags {
                    ::core::result::Result::Ok(flags)
                } else {
                    ::core::result::Result::Err(reader.error($crate::wire::Problem::UnknownFlags))
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use backplane_wire::{Form, from_slice, to_vec};

    crate::__flags! {
        pub struct Seventy: 70 flags in 9 bytes {
            FIRST = 0;
            EIGHTH = 8;
            LAST = 69;
        }
    }

    #[test]
    fn flags_wider_than_a_word_are_read_as_they_were_written() {
        let flags = Seventy::FIRST | Seventy::LAST;
        let bytes = to_vec(&flags, Form::Local);
        assert_eq!(bytes, [1, 0, 0, 0, 0, 0, 0, 0, 0b10_0000]);
        assert_eq!(from_slice(&bytes, Form::Local), Ok(flags));
        assert!(flags.contains(Seventy::LAST) && !flags.contains(Seventy::EIGHTH));
        assert!(from_slice::<Seventy>(&[0, 0, 0, 0, 0, 0, 0, 0, 0b100_0000], Form::Local).is_err());
    }
}
