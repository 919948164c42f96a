//! The stock server of the `wrpc-transport` crate, over each transport.

use std::sync::Arc;

use backplane::{boundary::call::FailureKind, provider::remote::ServerLimits};
use bytes::Bytes;
use futures::StreamExt as _;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
};
use wrpc_transport::{
    ServeExt as _,
    frame::{Accept, Server},
};

use crate::support::{ADD, Bound, DOUBLE, FIND, FORGET, INTERFACE, bound};

/// Serves `add`, `double`, `find` and `forget`, for ever.
pub(crate) async fn serve<L, C, I, O>(listener: L)
where
    L: Send + Sync + 'static,
    for<'a> &'a L: Accept<Context = C, Incoming = I, Outgoing = O>,
    C: Send + Sync + 'static,
    I: AsyncRead + Send + Sync + Unpin + 'static,
    O: AsyncWrite + Send + Sync + Unpin + 'static,
{
    let server = Arc::new(Server::<C, I, O>::new());
    macro_rules! answer {
        ($name:literal, $params:ty => $results:ty, $answer:expr) => {{
            let calls = server.serve_values::<$params, $results>(INTERFACE, $name, []);
            let mut calls = Box::pin(calls.await.unwrap());
            tokio::spawn(async move {
                while let Some(call) = calls.next().await {
                    let (_, params, _, answer) = call.unwrap();
                    let result: $results = $answer(params);
                    answer(result).await.unwrap();
                }
            });
        }};
    }
    answer!("add", (u32, u32) => (u32,), |(a, b): (u32, u32)| (a + b,));
    answer!("double", (Vec<u32>,) => (Vec<u32>,), |(numbers,): (Vec<u32>,)| {
        (numbers.into_iter().map(|number| number * 2).collect::<Vec<_>>(),)
    });
    answer!("find", (String,) => (Result<Option<Bytes>, String>,), |(key,): (String,)| {
        match key.as_str() {
            "none" => (Ok(None),),
            "error" => (Err("it is an error".to_owned()),),
            key => (Ok(Some(Bytes::from(key.repeat(1000)))),),
        }
    });
    answer!("forget", (String,) => (), |_| ());
    // In one future, for the crate's listeners are not `Send` while they are borrowed by another task.
    loop {
        let Err(error) = server.accept(&listener).await else { continue };
        println!("the stock server: {error}");
    }
}

/// Calls each function.
async fn exercise(server: &Bound) {
    assert_eq!(server.call::<_, u32>(ADD, (40_u32, 2_u32)).await, Ok(42));
    let numbers: Vec<u32> = (0..20_000).collect();
    let doubled: Vec<u32> = numbers.iter().map(|number| number * 2).collect();
    assert_eq!(server.call(DOUBLE, (numbers,)).await, Ok(doubled));
    type Found = Result<Option<Vec<u8>>, String>;
    let find = |key: &'static str| server.call::<_, Found>(FIND, (key,));
    assert_eq!(find("none").await, Ok(Ok(None)));
    assert_eq!(find("error").await, Ok(Err("it is an error".to_owned())));
    assert_eq!(find("x").await, Ok(Ok(Some(vec![b'x'; 1000]))));
}

/// A stock server confirms nothing of a function without results.
async fn forget(address: &str) {
    let strict = bound(address, ServerLimits::default()).await;
    let failure = strict.call::<_, ()>(FORGET, ("x",)).await.unwrap_err();
    assert_eq!(failure.kind, FailureKind::BadAnswer);
    assert!(failure.message.contains("unconfirmed = true"), "{failure}");
    let limits = ServerLimits { unconfirmed: true, ..ServerLimits::default() };
    let lenient = bound(address, limits).await;
    assert_eq!(lenient.call::<_, ()>(FORGET, ("x",)).await, Ok(()));
}

#[tokio::test]
async fn a_stock_server_is_called_over_tcp() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let test = async {
        exercise(&bound(&address, ServerLimits::default()).await).await;
        forget(&address).await;
    };
    tokio::select! { () = test => {}, () = serve(listener) => {} }
}

#[tokio::test]
async fn a_stock_server_is_called_over_a_unix_socket() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sums.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let address = format!("unix:{}", path.display());
    let test = async {
        exercise(&bound(&address, ServerLimits::default()).await).await;
        forget(&address).await;
    };
    tokio::select! { () = test => {}, () = serve(listener) => {} }
}
