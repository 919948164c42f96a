//! A channel of bytes between a guest and a provider: what a stream's elements go through.
//!
//! One end writes chunks, the other takes them whole; nothing is copied in between. The writer waits while as much
//! lies here as there may. Each end learns of the other's end.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use backplane_abi::Buffer;

/// Bytes that may lie in a channel before its writer waits.
pub const CAPACITY: usize = 256 << 10;

/// The same in a channel whose reader was found waiting for a writer that waited for it: the time that it takes to wake one
/// should be what the other needs for what lies there.
pub const MOST: usize = 1 << 20;

/// A channel, as both ends share it.
#[derive(Debug, Default)]
pub struct Channel(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    chunks: VecDeque<Buffer>,
    bytes: usize,
    /// How often what may lie here was doubled.
    doubled: u32,
    /// Whether the writer has found no room, and has not written since.
    was_full: bool,
    written: Written,
    is_left: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Written {
    #[default]
    Open,
    /// All of it.
    Ended,
    /// The writer ended, and had more to write.
    Cut,
}

/// The writer ended before it had written all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream was cut: its writer ended before the stream did")]
pub struct Cut;

/// The reader wants no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the stream is gone")]
pub struct Left;

impl Channel {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next chunk, which is not empty; none at the end.
    ///
    /// # Errors
    ///
    /// [`Cut`] behind the last chunk of a writer that ended early.
    pub fn poll_read(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Buffer>, Cut>> {
        let mut inner = self.lock();
        if let Some(chunk) = inner.chunks.pop_front() {
            inner.bytes -= chunk.len();
            // Were it woken for each chunk that is read, both ends would wait for each other all the time.
            let writer =
                if inner.bytes <= inner.capacity() / 2 { inner.writer.take() } else { None };
            drop(inner);
            if let Some(writer) = writer {
                writer.wake();
            }
            return Poll::Ready(Ok(Some(chunk)));
        }
        match inner.written {
            Written::Open => {
                inner.wait(cx);
                Poll::Pending
            }
            Written::Ended => Poll::Ready(Ok(None)),
            Written::Cut => Poll::Ready(Err(Cut)),
        }
    }

    /// What [`poll_read`](Self::poll_read) says, where nobody waits.
    pub fn try_read(&self) -> Poll<Result<Option<Buffer>, Cut>> {
        if self.is_readable() {
            self.poll_read(&mut Context::from_waker(Waker::noop()))
        } else {
            Poll::Pending
        }
    }

    /// Waits until a read would not.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_readable() {
            return Poll::Ready(());
        }
        inner.wait(cx);
        Poll::Pending
    }

    /// Whether a read would not wait.
    pub fn is_readable(&self) -> bool {
        self.lock().is_readable()
    }

    /// Waits until there is room; how many bytes are best written.
    ///
    /// # Errors
    ///
    /// [`Left`] when nobody reads any more.
    pub fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<usize, Left>> {
        let mut inner = self.lock();
        if inner.is_left {
            return Poll::Ready(Err(Left));
        }
        match inner.room() {
            0 => {
                inner.was_full = true;
                register(&mut inner.writer, cx);
                Poll::Pending
            }
            room => Poll::Ready(Ok(room)),
        }
    }

    /// Waits until nobody reads any more. For the writer, beside what it waits for.
    pub fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        if inner.is_left {
            return Poll::Ready(());
        }
        register(&mut inner.writer, cx);
        Poll::Pending
    }

    /// What [`poll_room`](Self::poll_room) says, where nobody waits.
    pub fn try_room(&self) -> Poll<Result<usize, Left>> {
        let inner = self.lock();
        match inner.room() {
            _ if inner.is_left => Poll::Ready(Err(Left)),
            0 => Poll::Pending,
            room => Poll::Ready(Ok(room)),
        }
    }

    /// Writes a chunk, whether or not there is room for all of it.
    ///
    /// # Errors
    ///
    /// [`Left`] when nobody reads any more; the chunk is gone.
    pub fn write(&self, chunk: Buffer) -> Result<(), Left> {
        let mut inner = self.lock();
        if inner.is_left {
            return Err(Left);
        }
        if chunk.is_empty() {
            return Ok(());
        }
        inner.bytes += chunk.len();
        inner.was_full = false;
        inner.chunks.push_back(chunk);
        Self::wake_reader(inner);
        Ok(())
    }

    /// Says that all is written.
    pub fn end(&self) {
        self.close(Written::Ended);
    }

    /// Says that the writer is gone and that there would have been more.
    pub fn cut(&self) {
        self.close(Written::Cut);
    }

    fn close(&self, how: Written) {
        let mut inner = self.lock();
        if inner.written == Written::Open {
            inner.written = how;
            Self::wake_reader(inner);
        }
    }

    fn wake_reader(mut inner: MutexGuard<'_, Inner>) {
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// Says that nobody reads any more.
    pub fn leave(&self) {
        let mut inner = self.lock();
        inner.is_left = true;
        inner.bytes = 0;
        let (chunks, writer) = (std::mem::take(&mut inner.chunks), inner.writer.take());
        drop(inner);
        drop(chunks);
        if let Some(writer) = writer {
            writer.wake();
        }
    }
}

impl Inner {
    fn capacity(&self) -> usize {
        CAPACITY << self.doubled
    }

    /// Has the reader wait for the writer.
    fn wait(&mut self, cx: &Context<'_>) {
        if self.was_full && self.capacity() < MOST {
            self.doubled += 1;
        }
        register(&mut self.reader, cx);
    }

    fn room(&self) -> usize {
        self.capacity().saturating_sub(self.bytes)
    }

    fn is_readable(&self) -> bool {
        !self.chunks.is_empty() || self.written != Written::Open
    }
}

fn register(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *place = Some(cx.waker().clone()),
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, sync::Arc, time::Duration};

    use super::*;

    fn chunk(bytes: usize) -> Buffer {
        vec![7; bytes].into()
    }

    async fn read(channel: &Channel) -> Result<Option<usize>, Cut> {
        Ok(poll_fn(|cx| channel.poll_read(cx)).await?.map(|chunk| chunk.len()))
    }

    async fn room(channel: &Channel) -> Result<usize, Left> {
        poll_fn(|cx| channel.poll_room(cx)).await
    }

    #[tokio::test]
    async fn a_full_channel_makes_its_writer_wait_until_a_chunk_is_read() {
        let channel = Arc::new(Channel::default());
        assert_eq!(room(&channel).await, Ok(CAPACITY));
        channel.write(chunk(CAPACITY - 1)).unwrap();
        assert_eq!(room(&channel).await, Ok(1));
        channel.write(chunk(10)).unwrap();
        let waiting = tokio::time::timeout(Duration::from_millis(5), room(&channel)).await;
        assert!(waiting.is_err(), "it is more than full");
        let writer = tokio::spawn({
            let channel = Arc::clone(&channel);
            async move { room(&channel).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(read(&channel).await, Ok(Some(CAPACITY - 1)));
        assert_eq!(writer.await.unwrap(), Ok(CAPACITY - 10));
    }

    #[tokio::test]
    async fn a_channel_that_runs_dry_while_its_writer_waits_has_more_room_up_to_a_limit() {
        let channel = Channel::default();
        for capacity in [CAPACITY, 2 * CAPACITY, 4 * CAPACITY, 4 * CAPACITY] {
            assert_eq!(room(&channel).await, Ok(capacity));
            channel.write(chunk(capacity)).unwrap();
            assert!(poll_fn(|cx| Poll::Ready(channel.poll_room(cx))).await.is_pending());
            assert_eq!(read(&channel).await, Ok(Some(capacity)));
            assert!(poll_fn(|cx| Poll::Ready(channel.poll_read(cx))).await.is_pending());
        }
        // One that waits for a writer that is slow has not.
        let channel = Channel::default();
        channel.write(chunk(CAPACITY)).unwrap();
        assert_eq!(read(&channel).await, Ok(Some(CAPACITY)));
        assert!(poll_fn(|cx| Poll::Ready(channel.poll_read(cx))).await.is_pending());
        assert_eq!(room(&channel).await, Ok(CAPACITY));
    }

    #[tokio::test]
    async fn what_was_written_is_read_before_the_end_and_before_a_cut() {
        for cut in [false, true] {
            let channel = Channel::default();
            channel.write(chunk(3)).unwrap();
            channel.write(chunk(0)).unwrap();
            if cut {
                channel.cut()
            } else {
                channel.end()
            }
            // The first end is the one that counts.
            channel.end();
            assert_eq!(read(&channel).await, Ok(Some(3)));
            assert_eq!(read(&channel).await, if cut { Err(Cut) } else { Ok(None) });
        }
    }

    #[tokio::test]
    async fn a_writer_that_waits_for_something_else_is_told_that_its_reader_has_left() {
        let channel = Arc::new(Channel::default());
        let writer = tokio::spawn({
            let channel = Arc::clone(&channel);
            async move { poll_fn(|cx| channel.poll_left(cx)).await }
        });
        tokio::task::yield_now().await;
        assert!(!writer.is_finished());
        channel.leave();
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_reader_that_leaves_is_told_to_a_writer_that_waits() {
        let channel = Arc::new(Channel::default());
        channel.write(chunk(CAPACITY)).unwrap();
        let writer = tokio::spawn({
            let channel = Arc::clone(&channel);
            async move { room(&channel).await }
        });
        tokio::task::yield_now().await;
        channel.leave();
        assert_eq!(writer.await.unwrap(), Err(Left));
        assert_eq!(channel.write(chunk(1)), Err(Left));
    }
}
