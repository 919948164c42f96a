//! The boundary between a guest's memory and wire values.

use backplane_abi::CallContext;

/// What the boundary keeps in a store. The store's data owns one and hands it out.
pub trait StoreData: Send + 'static {
    /// The boundary's part of this store's data.
    fn boundary(&mut self) -> &mut StoreState;
}

/// The boundary's part of a store's data: the live handles and what travels with each call.
#[derive(Debug, Default)]
pub struct StoreState {
    /// Deadline and trace of the request that the store serves.
    pub context: CallContext,
}
