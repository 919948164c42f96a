//! A server's side of the host by itself, and the WIT of what the tests' servers serve.

use std::{path::Path, sync::Arc};

use backplane::{
    boundary::call::{Answer, Callee, Failure},
    provider::{
        Callbacks, Provider as _, WorkloadIdentity,
        remote::{Server, ServerConfig, ServerLimits},
    },
};
use backplane_abi::{Buffer, CallContext, Exchange};
use backplane_tests::within;
use backplane_wire::{Decode, Encode, Form, from_slice};

pub(crate) const WIT: &str = "package acme:math@1.0.0;\n\
    interface sums {\n\
      add: func(a: u32, b: u32) -> u32;\n\
      double: func(numbers: list<u32>) -> list<u32>;\n\
      find: func(key: string) -> result<option<list<u8>>, string>;\n\
      forget: func(key: string);\n\
    }\n";

pub(crate) const INTERFACE: &str = "acme:math/sums@1.0.0";

/// The numbers of the functions, as the WIT has them in order.
pub(crate) const ADD: u32 = 0;
pub(crate) const DOUBLE: u32 = 1;
pub(crate) const FIND: u32 = 2;
pub(crate) const FORGET: u32 = 3;

/// A server of the host's, bound to a workload.
pub(crate) struct Bound {
    _server: Server,
    binding: Arc<dyn Callee>,
    _folder: tempfile::TempDir,
}

pub(crate) async fn bound(address: &str, limits: ServerLimits) -> Bound {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::declared(&config(folder.path(), address, limits)).unwrap();
    let workload = WorkloadIdentity { name: "shop".parse().unwrap() };
    let bound = server.bind(&workload, &serde_json::Value::Null, &Callbacks::none());
    let binding = bound.await.unwrap();
    Bound { _server: server, binding, _folder: folder }
}

pub(crate) fn config(folder: &Path, address: &str, limits: ServerLimits) -> ServerConfig {
    let wit = folder.join("sums.wit");
    std::fs::write(&wit, WIT).unwrap();
    ServerConfig {
        name: "sums".parse().unwrap(),
        address: address.parse().unwrap(),
        wit,
        interfaces: Vec::new(),
        limits,
    }
}

impl Bound {
    /// Begins a call, with the request's context.
    pub(crate) fn begin<A: Encode>(
        &self,
        function: u32,
        arguments: &A,
        context: &CallContext,
    ) -> impl Future<Output = Result<Buffer, Failure>> + Send + use<A> {
        let arguments = backplane_wire::to_vec(arguments, Form::Local).into();
        let mut exchange = Exchange { arguments, results: Buffer::default() };
        let answer = self.binding.call(function, context, &mut exchange);
        async move {
            match answer {
                Answer::Ready => Ok(exchange.results),
                Answer::Pending(later) => later.await,
                Answer::Failed(failure) => Err(*failure),
            }
        }
    }

    /// Makes a call.
    pub(crate) async fn call<A: Encode, R>(&self, function: u32, arguments: A) -> Result<R, Failure>
    where
        R: for<'a> Decode<'a>,
    {
        let call = self.begin(function, &arguments, &CallContext::default());
        let results = within("a call", call).await?;
        Ok(from_slice(&results, Form::Local).unwrap())
    }
}
