//! `probe:types/streams`: reads and writes streams.

use std::sync::{Arc, Mutex, PoisonError, atomic::Ordering};

use backplane_sdk::{Bytes, Context, Failure, StreamReader, StreamWriter};

use crate::{
    Binding,
    bindings::probe::types::{stream_callbacks, streams::Handler},
};

fn bytes(from: u64, count: u64) -> Bytes {
    (from..from + count).map(|at| (at % 251) as u8).collect()
}

/// Reads all of a stream: how many bytes, and their sum.
pub(crate) async fn sum(mut stream: StreamReader<u8>) -> Result<(u64, u64), Failure> {
    let (mut count, mut sum) = (0, 0);
    while let Some(chunk) = stream.next().await? {
        count += chunk.len() as u64;
        sum += chunk.iter().copied().map(u64::from).sum::<u64>();
    }
    Ok((count, sum))
}

/// Writes until all is written or nobody reads: how many bytes were taken.
pub(crate) async fn write(
    mut writer: StreamWriter<u8>,
    count: u64,
    chunk: u32,
) -> Result<u64, Failure> {
    let mut written = 0;
    while written < count {
        let next = u64::from(chunk).clamp(1, count - written);
        if !writer.write(bytes(written, next)).await? {
            return Ok(written);
        }
        written += next;
    }
    writer.finish();
    Ok(written)
}

impl Handler for Binding {
    async fn sum(
        &self,
        _: &Context,
        bytes: StreamReader<u8>,
    ) -> Result<Result<(u64, u64), String>, Failure> {
        Ok(sum(bytes).await.map_err(|failure| failure.message().to_owned()))
    }

    async fn count_up(
        &self,
        cx: &Context,
        count: u64,
        chunk: u32,
    ) -> Result<StreamReader<u8>, Failure> {
        let (writer, reader) = cx.stream()?;
        tokio::spawn(write(writer, count, chunk));
        Ok(reader)
    }

    async fn double(
        &self,
        cx: &Context,
        mut numbers: StreamReader<u32>,
    ) -> Result<StreamReader<u32>, Failure> {
        let (mut writer, reader) = cx.stream::<u32>()?;
        tokio::spawn(async move {
            while let Some(chunk) = numbers.next().await? {
                let doubled: Vec<_> = chunk.iter().map(|number| number.wrapping_mul(2)).collect();
                writer.write(doubled).await?;
            }
            writer.finish();
            Ok::<_, Failure>(())
        });
        Ok(reader)
    }

    async fn halve(
        &self,
        cx: &Context,
        mut numbers: StreamReader<f64>,
    ) -> Result<StreamReader<f64>, Failure> {
        let (mut writer, reader) = cx.stream::<f64>()?;
        tokio::spawn(async move {
            while let Some(chunk) = numbers.next().await? {
                writer.write(chunk.iter().map(|number| number / 2.0).collect::<Vec<_>>()).await?;
            }
            writer.finish();
            Ok::<_, Failure>(())
        });
        Ok(reader)
    }

    async fn pass(
        &self,
        _: &Context,
        given: Option<(&str, StreamReader<u8>)>,
    ) -> Result<Result<(StreamReader<u8>, String), String>, Failure> {
        Ok(match given {
            Some((name, stream)) => Ok((stream, name.to_owned())),
            None => Err("nothing was given".to_owned()),
        })
    }

    async fn read_some(
        &self,
        _: &Context,
        mut bytes: StreamReader<u8>,
        count: u64,
    ) -> Result<u64, Failure> {
        let mut read = 0;
        while read < count {
            match bytes.next().await? {
                Some(chunk) => read += chunk.len() as u64,
                None => break,
            }
        }
        Ok(read)
    }

    async fn keep(&self, _: &Context, bytes: StreamReader<u8>) -> Result<(), Failure> {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(bytes);
        Ok(())
    }

    async fn kept(&self, _: &Context) -> Result<Result<u64, String>, Failure> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(match kept {
            Some(stream) => match sum(stream).await {
                Ok((count, _)) => Ok(count),
                Err(failure) => Err(failure.message().to_owned()),
            },
            None => Err("nothing was kept".to_owned()),
        })
    }

    async fn cut(&self, cx: &Context) -> Result<StreamReader<u8>, Failure> {
        let (mut writer, reader) = cx.stream::<u8>()?;
        writer.write(bytes(0, 100)).await?;
        Ok(reader)
    }

    async fn endless(&self, cx: &Context) -> Result<StreamReader<u8>, Failure> {
        let (mut writer, reader) = cx.stream::<u8>()?;
        let written = Arc::clone(&self.written);
        tokio::spawn(async move {
            while writer.write(bytes(0, 10_000)).await? {
                written.fetch_add(10_000, Ordering::SeqCst);
            }
            written.fetch_or(1, Ordering::SeqCst);
            Ok::<_, Failure>(())
        });
        Ok(reader)
    }

    async fn written(&self, _: &Context) -> Result<u64, Failure> {
        // The last bit says that the reader has left.
        loop {
            let written = self.written.load(Ordering::SeqCst);
            if written & 1 == 1 {
                return Ok(written - 1);
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    }

    async fn have_turned(
        &self,
        cx: &Context,
        text: &str,
    ) -> Result<Result<String, String>, Failure> {
        let (mut writer, reader) = cx.stream::<u8>()?;
        let text = text.to_owned();
        tokio::spawn(async move {
            for byte in text.bytes() {
                writer.write(vec![byte]).await?;
            }
            writer.finish();
            Ok::<_, Failure>(())
        });
        let turned = stream_callbacks::turn(cx, reader).await;
        Ok(match turned {
            Ok(turned) => match turned.read_to_end(1000).await {
                Ok(turned) => Ok(String::from_utf8_lossy(&turned).into_owned()),
                Err(failure) => Err(format!("{failure:?}")),
            },
            Err(failure) => Err(format!("{failure:?}")),
        })
    }
}

/// The stream that is kept, if one is.
pub(crate) type Kept = Mutex<Option<StreamReader<u8>>>;
