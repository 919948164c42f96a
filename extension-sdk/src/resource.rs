//! Resources: the author's values behind the handles that a workload holds.
//!
//! Each binding has one table. A handle is the number of a slot and the slot's generation, so that a
//! handle outlives its resource only as an error. Reading takes the lock of that slot and no other:
//! two instances of a workload, which have handles of their own, never wait for each other.

use std::{
    any::Any,
    cell::Cell,
    fmt,
    ops::Deref,
    ptr::NonNull,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use backplane_wire::{Decode, Encode, Error, Problem, Reader, Writer};

use crate::host::Home;

/// A resource type of the world: a marker that [`generate!`](crate::generate) makes, such as
/// `store::Bucket`, and the author's type behind it.
pub trait Resource: 'static {
    /// What the author keeps for each resource. Dropped when the workload drops its handle, traps
    /// with it or ends.
    type Rep: Send + Sync + 'static;

    /// The type's number in the extension's description.
    const NUMBER: u32;

    /// The type's full name, `ns:package/interface@version/name`.
    const NAME: &'static str;
}

/// A resource on its way: given to the workload in a result, or by it in an argument.
///
/// It gets its handle when the result is encoded; one that never gets there (its handler failed,
/// its call was cancelled) is dropped like any value.
pub struct Own<M: Resource>(Arc<M::Rep>);

/// A resource that the workload lends for the length of a call, inside another argument.
pub struct Borrow<M: Resource>(Arc<M::Rep>);

impl<M: Resource> Own<M> {
    /// A new resource.
    pub fn new(rep: M::Rep) -> Self {
        Self(Arc::new(rep))
    }

    /// The author's value. Others hold it too while a call that borrows it runs.
    pub fn into_rep(self) -> Arc<M::Rep> {
        self.0
    }
}

impl<M: Resource> From<Arc<M::Rep>> for Own<M> {
    fn from(rep: Arc<M::Rep>) -> Self {
        Self(rep)
    }
}

impl<M: Resource> Borrow<M> {
    /// The author's value, which may be kept for longer than the call.
    pub fn to_rep(&self) -> Arc<M::Rep> {
        Arc::clone(&self.0)
    }
}

impl<M: Resource> Deref for Own<M> {
    type Target = M::Rep;

    fn deref(&self) -> &M::Rep {
        &self.0
    }
}

impl<M: Resource> Deref for Borrow<M> {
    type Target = M::Rep;

    fn deref(&self) -> &M::Rep {
        &self.0
    }
}

impl<M: Resource> fmt::Debug for Own<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Own({})", M::NAME)
    }
}

impl<M: Resource> fmt::Debug for Borrow<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Borrow({})", M::NAME)
    }
}

thread_local! {
    /// The table of the call that is encoding or decoding on this thread.
    static CURRENT: Cell<Option<NonNull<Table>>> = const { Cell::new(None) };
}

/// Runs `body` with `table` as the one that handles inside of values belong to.
pub(crate) fn with_table<T>(table: &Table, body: impl FnOnce() -> T) -> T {
    struct Restore(Option<NonNull<Table>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0);
        }
    }
    let _restore = Restore(CURRENT.replace(Some(NonNull::from(table))));
    body()
}

/// Uses the table of the call that is encoding or decoding, if there is one.
pub(crate) fn with_current<T>(body: impl FnOnce(&Table) -> T) -> Option<T> {
    // SAFETY: `with_table` has borrowed the table for as long as it is the current one, which it is on this
    // thread while `with_table` runs.
    CURRENT.get().map(|table| body(unsafe { table.as_ref() }))
}

/// A handle outside of a call belongs to no table, and is encoded as none.
const NO_HANDLE: u64 = 0;

impl<M: Resource> Encode for Own<M> {
    fn encode(&self, writer: &mut Writer) {
        let handle = with_current(|table| table.insert(M::NUMBER, Arc::<M::Rep>::clone(&self.0)));
        writer.handle(handle.unwrap_or(NO_HANDLE));
    }

    fn size_hint(&self) -> usize {
        9
    }
}

impl<'a, M: Resource> Decode<'a> for Own<M> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        with_current(|table| take_own::<M>(table, reader).map(Self))
            .unwrap_or_else(|| Err(reader.error(Problem::DeadHandle)))
    }
}

impl<'a, M: Resource> Decode<'a> for Borrow<M> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, Error> {
        with_current(|table| take_borrow::<M>(table, reader).map(Self))
            .unwrap_or_else(|| Err(reader.error(Problem::DeadHandle)))
    }
}

/// Reads a handle and removes its resource from the table.
pub(crate) fn take_own<M: Resource>(
    table: &Table,
    reader: &mut Reader<'_>,
) -> Result<Arc<M::Rep>, Error> {
    let handle = reader.handle()?;
    let rep = table.remove(M::NUMBER, handle).and_then(|rep| rep.downcast().ok());
    rep.ok_or_else(|| reader.error(Problem::DeadHandle))
}

/// Reads a handle and finds its resource.
#[inline]
pub(crate) fn take_borrow<M: Resource>(
    table: &Table,
    reader: &mut Reader<'_>,
) -> Result<Arc<M::Rep>, Error> {
    let handle = reader.handle()?;
    let rep = table.get(M::NUMBER, handle).and_then(|rep| rep.downcast().ok());
    rep.ok_or_else(|| reader.error(Problem::DeadHandle))
}

type Rep = Arc<dyn Any + Send + Sync>;

/// Slots in the first chunk; each chunk has twice as many as the one before.
const FIRST: u32 = 32;
const CHUNKS: usize = 26;

/// The resources of one binding.
pub(crate) struct Table {
    /// Chunks never move, so that a reader needs no lock to find its slot.
    chunks: [OnceLock<Box<[Mutex<Slot>]>>; CHUNKS],
    free: Mutex<Free>,
    /// Where generations begin: another in each table, so that a handle of one is none of another.
    first_generation: u32,
    /// Whose it is.
    home: Home,
}

struct Slot {
    generation: u32,
    resource: u32,
    rep: Option<Rep>,
}

#[derive(Default)]
struct Free {
    slots: Vec<u32>,
    /// Slots that were ever used.
    used: u32,
}

impl Table {
    pub(crate) fn new(home: Home) -> Self {
        static TABLES: AtomicU32 = AtomicU32::new(1);
        // An odd factor spreads the tables over the range of generations.
        let number = TABLES.fetch_add(1, Ordering::Relaxed);
        Self {
            chunks: [const { OnceLock::new() }; CHUNKS],
            free: Mutex::default(),
            first_generation: number.wrapping_mul(0x9e37_79b9).max(1),
            home,
        }
    }

    /// The binding that it belongs to.
    pub(crate) fn home(&self) -> Home {
        self.home
    }

    /// Resources that are alive.
    pub(crate) fn live(&self) -> usize {
        let free = lock(&self.free);
        (free.used as usize).saturating_sub(free.slots.len())
    }

    /// Adds a resource and returns its handle; none when four thousand million are alive.
    pub(crate) fn insert(&self, resource: u32, rep: Rep) -> u64 {
        let number = {
            let mut free = lock(&self.free);
            free.slots.pop().unwrap_or_else(|| {
                let number = free.used;
                free.used = free.used.saturating_add(1);
                number
            })
        };
        let (chunk, offset) = place(number);
        let slot = self.chunks.get(chunk).and_then(|chunk_cell| {
            let slots = chunk_cell.get_or_init(|| self.new_chunk(chunk));
            slots.get(offset)
        });
        let Some(slot) = slot else { return NO_HANDLE };
        let mut slot = lock(slot);
        slot.resource = resource;
        slot.rep = Some(rep);
        u64::from(slot.generation) << 32 | u64::from(number)
    }

    /// The resource of a handle, if it is alive and of that type.
    #[inline]
    pub(crate) fn get(&self, resource: u32, handle: u64) -> Option<Rep> {
        let slot = lock(self.slot(handle)?);
        let matches = slot.generation == generation(handle) && slot.resource == resource;
        if matches { slot.rep.clone() } else { None }
    }

    /// Takes the resource of a handle out, if it is alive and of that type.
    pub(crate) fn remove(&self, resource: u32, handle: u64) -> Option<Rep> {
        let mut slot = lock(self.slot(handle)?);
        if slot.generation != generation(handle) || slot.resource != resource {
            return None;
        }
        let rep = slot.rep.take()?;
        slot.generation = slot.generation.wrapping_add(1).max(1);
        drop(slot);
        lock(&self.free).slots.push(number(handle));
        Some(rep)
    }

    /// Takes out every resource that is alive.
    pub(crate) fn drain(&self) -> Vec<Rep> {
        let slots = self.chunks.iter().filter_map(OnceLock::get).flatten();
        slots.filter_map(|slot| lock(slot).rep.take()).collect()
    }

    #[inline]
    fn slot(&self, handle: u64) -> Option<&Mutex<Slot>> {
        let (chunk, offset) = place(number(handle));
        self.chunks.get(chunk)?.get()?.get(offset)
    }

    #[cold]
    fn new_chunk(&self, chunk: usize) -> Box<[Mutex<Slot>]> {
        let slot =
            || Mutex::new(Slot { generation: self.first_generation, resource: 0, rep: None });
        (0..FIRST << chunk).map(|_| slot()).collect()
    }
}

/// The chunk of a slot's number, and the place in it.
#[inline]
fn place(number: u32) -> (usize, usize) {
    let shifted = u64::from(number) + u64::from(FIRST);
    let chunk = shifted.ilog2() - FIRST.ilog2();
    (chunk as usize, (shifted - (u64::from(FIRST) << chunk)) as usize)
}

#[inline]
fn number(handle: u64) -> u32 {
    handle as u32
}

#[inline]
fn generation(handle: u64) -> u32 {
    (handle >> 32) as u32
}

/// A slot is whole even after a panic: nothing panics while its lock is held.
#[inline]
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
