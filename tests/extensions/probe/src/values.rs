//! `probe:types/values`: streams of records and the like, and futures.

use std::time::Duration;

use backplane_sdk::{Context, Element, Encoded, Failure, FutureReader, StreamReader, StreamWriter};

use crate::{
    Binding,
    bindings::probe::types::{
        value_callbacks,
        values::{Change, Entry, Grade, Handler, Marks, Point},
    },
};

fn point(at: u64) -> Point {
    Point { x: at as u32, is_set: at.is_multiple_of(3), y: at as f64 / 2.0 }
}

fn points(from: u64, count: u64) -> Vec<Point> {
    (from..from + count).map(point).collect()
}

fn doubled(mut entry: Entry) -> Entry {
    entry.number = entry.number.wrapping_mul(2);
    entry
}

/// A stream of what becomes of each element of another.
fn mapped<A: Element<Chunk = Vec<A>> + Sync, B: Element<Chunk = Vec<B>> + Sync>(
    cx: &Context,
    mut given: StreamReader<A>,
    map: impl Fn(A) -> B + Send + 'static,
) -> Result<StreamReader<B>, Failure> {
    let (mut writer, reader) = cx.stream()?;
    tokio::spawn(async move {
        while let Some(chunk) = given.next().await? {
            let chunk: Vec<B> = chunk.into_iter().map(&map).collect();
            if !writer.write(chunk).await? {
                return Ok(());
            }
        }
        writer.finish();
        Ok::<_, Failure>(())
    });
    Ok(reader)
}

/// An answer that is of another type than it should be.
fn encoded<T>(cx: &Context, reader: &StreamReader<T>) -> Encoded {
    Encoded(backplane_sdk::wire::to_vec(reader, cx.form()))
}

async fn write(mut writer: StreamWriter<Point>, count: u64, chunk: u32) -> Result<(), Failure> {
    let mut written = 0;
    while written < count {
        let next = u64::from(chunk).clamp(1, count - written);
        if !writer.write(points(written, next)).await? {
            return Ok(());
        }
        written += next;
    }
    writer.finish();
    Ok(())
}

impl Handler for Binding {
    async fn entries(
        &self,
        cx: &Context,
        given: StreamReader<Entry>,
    ) -> Result<StreamReader<Entry>, Failure> {
        mapped(cx, given, doubled)
    }

    async fn points(
        &self,
        cx: &Context,
        count: u64,
        chunk: u32,
    ) -> Result<StreamReader<Point>, Failure> {
        let (writer, reader) = cx.stream()?;
        tokio::spawn(write(writer, count, chunk));
        Ok(reader)
    }

    async fn sum_points(
        &self,
        _: &Context,
        mut given: StreamReader<Point>,
    ) -> Result<Result<(u64, u64, Option<Point>), String>, Failure> {
        let (mut count, mut sum, mut last) = (0, 0, None);
        loop {
            match given.next().await {
                Ok(Some(points)) => {
                    for point in points {
                        count += 1;
                        sum += u64::from(point.x);
                        if point.is_set {
                            last = Some(point);
                        }
                    }
                }
                Ok(None) => return Ok(Ok((count, sum, last))),
                Err(failure) => return Ok(Err(failure.message().to_owned())),
            }
        }
    }

    async fn changes(
        &self,
        cx: &Context,
        given: StreamReader<Change>,
    ) -> Result<StreamReader<String>, Failure> {
        mapped(cx, given, |change| match change {
            Change::Set(entry) => format!("set {entry:?}"),
            Change::Gone(name) => format!("gone {name}"),
            Change::Nothing => "nothing".to_owned(),
        })
    }

    async fn small(
        &self,
        cx: &Context,
        bools: StreamReader<bool>,
        bytes: StreamReader<i8>,
        grades: StreamReader<Grade>,
        marks: StreamReader<Marks>,
    ) -> Result<
        (StreamReader<bool>, StreamReader<i8>, StreamReader<Grade>, StreamReader<Marks>),
        Failure,
    > {
        // Through the extension's hands, each of them.
        Ok((
            mapped(cx, bools, |is| is)?,
            mapped(cx, bytes, |byte| byte)?,
            mapped(cx, grades, |grade| grade)?,
            mapped(cx, marks, |marks| marks)?,
        ))
    }

    async fn pass(
        &self,
        _: &Context,
        given: Option<StreamReader<Entry>>,
    ) -> Result<Result<StreamReader<Entry>, String>, Failure> {
        Ok(given.ok_or_else(|| "nothing was given".to_owned()))
    }

    async fn read_some(
        &self,
        _: &Context,
        mut given: StreamReader<Point>,
        count: u64,
    ) -> Result<u64, Failure> {
        let mut read = 0;
        while read < count {
            match given.next().await? {
                Some(chunk) => read += chunk.len() as u64,
                None => break,
            }
        }
        Ok(read)
    }

    async fn cut(&self, cx: &Context) -> Result<StreamReader<Point>, Failure> {
        let (mut writer, reader) = cx.stream::<Point>()?;
        writer.write(points(0, 10)).await?;
        Ok(reader)
    }

    async fn malformed(&self, cx: &Context, is_empty: bool) -> Result<Encoded, Failure> {
        // As another type, which has the same place in a message.
        let (mut writer, reader) = cx.stream::<u8>()?;
        let bytes = if is_empty { vec![0] } else { vec![2, 1, b'a', 2, 0xff, 0xff] };
        writer.write(bytes).await?;
        writer.finish();
        Ok(encoded(cx, &reader))
    }

    async fn later(
        &self,
        cx: &Context,
        given: FutureReader<Entry>,
    ) -> Result<FutureReader<Result<Entry, u64>>, Failure> {
        let (writer, reader) = cx.future()?;
        tokio::spawn(async move {
            let entry = doubled(given.value().await?);
            let named = if entry.name.is_empty() { Err(entry.number) } else { Ok(entry) };
            writer.write(&named)
        });
        Ok(reader)
    }

    async fn number_later(
        &self,
        cx: &Context,
        number: u64,
        milliseconds: u32,
    ) -> Result<FutureReader<u64>, Failure> {
        let (writer, reader) = cx.future()?;
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(milliseconds.into())).await;
            writer.write(&number)
        });
        Ok(reader)
    }

    async fn signal(
        &self,
        cx: &Context,
        given: FutureReader<()>,
    ) -> Result<FutureReader<()>, Failure> {
        let (writer, reader) = cx.future()?;
        tokio::spawn(async move {
            given.value().await?;
            writer.write(&())
        });
        Ok(reader)
    }

    async fn never(&self, cx: &Context) -> Result<FutureReader<String>, Failure> {
        Ok(cx.future()?.1)
    }

    async fn twice(&self, cx: &Context) -> Result<Encoded, Failure> {
        let (mut writer, reader) = cx.stream::<String>()?;
        writer.write(vec!["one".to_owned(), "two".to_owned()]).await?;
        writer.finish();
        Ok(encoded(cx, &reader))
    }

    async fn wait(
        &self,
        _: &Context,
        given: FutureReader<Entry>,
    ) -> Result<Result<Entry, String>, Failure> {
        Ok(given.value().await.map_err(|failure| failure.message().to_owned()))
    }

    async fn pass_future(
        &self,
        _: &Context,
        given: FutureReader<Entry>,
    ) -> Result<FutureReader<Entry>, Failure> {
        Ok(given)
    }

    async fn forget(&self, _: &Context, _: FutureReader<Entry>) -> Result<(), Failure> {
        Ok(())
    }

    async fn have_shouted(
        &self,
        cx: &Context,
        texts: Vec<&str>,
    ) -> Result<Result<String, String>, Failure> {
        let (mut writer, reader) = cx.stream::<String>()?;
        let texts: Vec<_> = texts.into_iter().map(str::to_owned).collect();
        tokio::spawn(async move {
            for text in texts {
                writer.write(vec![text]).await?;
            }
            writer.finish();
            Ok::<_, Failure>(())
        });
        let shouted = async { value_callbacks::shout(cx, reader).await?.value().await };
        Ok(shouted.await.map_err(|failure| failure.message().to_owned()))
    }
}
