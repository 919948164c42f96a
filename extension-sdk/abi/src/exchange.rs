//! What a call passes, there and back.

use abi_stable::StableAbi;

use crate::Buffer;

/// The arguments of a call and its results, in memory of the host's that stays in its place until the
/// call has returned. Both are large for what a call costs, so that neither is moved without need: the
/// extension reads the arguments where they are, and writes the results where the host reads them.
#[repr(C)]
#[derive(StableAbi, Debug, Default)]
pub struct Exchange {
    /// The wire encoding of the parameters, one after another. The extension may take them, to keep
    /// them beyond the call; the host releases what it leaves.
    pub arguments: Buffer,
    /// The wire encoding of the result. Empty when the call is made; read when it answers that it is
    /// ready.
    pub results: Buffer,
}
