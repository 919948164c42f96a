//! `probe:io/streams`: streams of `wasi:io`, for guests of WASI 0.2.

use std::sync::{Mutex, PoisonError};

use backplane_sdk::{Context, Failure, StreamReader, StreamWriter};
use tokio::task::JoinHandle;

use crate::{
    Binding,
    bindings::probe::io::streams::Handler,
    streams::{sum, write},
};

/// How many bytes, and their sum; or what went wrong.
type Sum = Result<(u64, u64), String>;

/// What is written into the stream that was created last.
pub(crate) type Created = Mutex<Option<JoinHandle<Sum>>>;

async fn told(bytes: StreamReader<u8>) -> Sum {
    sum(bytes).await.map_err(|failure| failure.message().to_owned())
}

impl Handler for Binding {
    async fn open(&self, cx: &Context, count: u64) -> Result<StreamReader<u8>, Failure> {
        let (writer, reader) = cx.stream()?;
        tokio::spawn(write(writer, count, 10_000));
        Ok(reader)
    }

    async fn create(&self, cx: &Context) -> Result<StreamWriter<u8>, Failure> {
        let (writer, reader) = cx.stream()?;
        let read = tokio::spawn(told(reader));
        *self.created.lock().unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(writer)
    }

    async fn written(&self, _: &Context) -> Result<Sum, Failure> {
        let created = self.created.lock().unwrap_or_else(PoisonError::into_inner).take();
        match created {
            Some(read) => Ok(read.await?),
            None => Ok(Err("nothing was created".to_owned())),
        }
    }

    async fn sum(&self, _: &Context, bytes: StreamReader<u8>) -> Result<Sum, Failure> {
        Ok(told(bytes).await)
    }

    async fn fill(
        &self,
        _: &Context,
        into: Option<StreamWriter<u8>>,
        count: u64,
    ) -> Result<Result<u64, String>, Failure> {
        Ok(match into {
            Some(into) => Ok(write(into, count, 10_000).await?),
            None => Err("nothing to fill".to_owned()),
        })
    }

    async fn cut(
        &self,
        cx: &Context,
    ) -> Result<Result<(String, StreamReader<u8>), String>, Failure> {
        let (mut writer, reader) = cx.stream::<u8>()?;
        writer.write(vec![7; 100]).await?;
        Ok(Ok(("cut".to_owned(), reader)))
    }

    async fn tire(&self, cx: &Context) -> Result<StreamWriter<u8>, Failure> {
        let (writer, mut reader) = cx.stream::<u8>()?;
        tokio::spawn(async move { reader.next().await.map(drop) });
        Ok(writer)
    }
}
