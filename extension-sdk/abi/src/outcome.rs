//! How a call ends.

use abi_stable::{
    StableAbi,
    std_types::{RResult, RString},
};
use async_ffi::FfiFuture;

use crate::Buffer;

/// What a call answers at once. A closed enum: a case is never added.
#[repr(C, u8)]
#[derive(StableAbi)]
pub enum Outcome {
    /// The results are where the call was told to put them ([`Exchange`](crate::Exchange)). No future
    /// was made and no thread was changed.
    Ready,
    /// The answer is not at hand. The host polls the future at once, since nobody has been told whom
    /// to wake, and from then on when it is woken, on the task of the calling guest; it drops the
    /// future when the guest is cancelled.
    Pending(FfiFuture<Finished>),
    /// The call failed; the guest traps, or gets its interface's error where the host can tell.
    Failed(Failed),
}

/// How a pending call ends: with its results, encoded, or with a failure.
pub type Finished = RResult<Buffer, Failed>;

/// Why an extension could not answer.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct Failed {
    /// The kind, as a number so that kinds can be added; see [`FailureCode`].
    pub code: u32,
    /// One line for the operator: what failed, on what.
    pub message: RString,
}

/// The kinds of failure that have a name. A reader takes any other number as [`FailureCode::OTHER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FailureCode;

impl FailureCode {
    /// A failure with no kind of its own.
    pub const OTHER: u32 = 0;
    /// The extension's code panicked.
    pub const PANICKED: u32 = 1;
    /// The extension has no such function.
    pub const UNIMPLEMENTED: u32 = 2;
    /// The arguments, or a resource handle among them, are not what the function takes.
    pub const BAD_ARGUMENTS: u32 = 3;
    /// What the extension needs is away: a server, a file, a full disk.
    pub const UNAVAILABLE: u32 = 4;
    /// The call's deadline passed.
    pub const DEADLINE: u32 = 5;
    /// The workload may not do this.
    pub const DENIED: u32 = 6;
}
