//! The RPCs that are built: for each, the only code that is generic over its messages.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use narthex_api::METHODS;
use narthex_api::contract::{Method, Rpc};
use narthex_core::{Caller, Error};
use prost::Message;

use crate::Environment;
use crate::grpc::PREFIX;

/// What a handler learns beside its request.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who calls; of a kind that the RPC allows.
    pub caller: Caller,
    /// The environment that the request acts in.
    pub environment: Arc<Environment>,
    /// Id of the request, in logs and errors.
    pub request_id: Arc<str>,
    /// The caller's `idempotency-key`.
    pub idempotency_key: Option<String>,
    /// Address of the client.
    pub peer: IpAddr,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
    /// What a browser sends by itself.
    pub browser: Browser,
}

/// What a browser sends by itself. Both texts are as they came.
#[derive(Debug, Clone, Default)]
pub struct Browser {
    /// The cookies, joined by `; `. `None` unless a page of this very origin asks, or the browser itself.
    pub cookies: Option<String>,
    /// `user-agent`.
    pub user_agent: Option<String>,
}

type Answer = Pin<Box<dyn Future<Output = Result<Vec<u8>, Error>> + Send>>;
type Handler = Box<dyn Fn(Context, Bytes) -> Answer + Send + Sync>;

/// The built RPCs. All others answer UNIMPLEMENTED.
pub struct Rpcs {
    handlers: Vec<Option<Handler>>,
}

impl Default for Rpcs {
    fn default() -> Self {
        Self::new()
    }
}

impl Rpcs {
    /// None built.
    pub fn new() -> Self {
        Self { handlers: METHODS.iter().map(|_| None).collect() }
    }

    /// Builds an RPC.
    ///
    /// # Panics
    /// If it is built already.
    pub fn add<I, O, F, Fut>(&mut self, rpc: Rpc<I, O>, handler: F) -> &mut Self
    where
        I: Message + Default + 'static,
        O: Message + 'static,
        F: Fn(Context, I) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<O, Error>> + Send + 'static,
    {
        let slot = &mut self.handlers[rpc.method.index];
        assert!(slot.is_none(), "{} is built twice", rpc.method.path);
        *slot = Some(Box::new(move |context, wire| {
            let answer = I::decode(wire).map(|input| handler(context, input));
            Box::pin(async move {
                // The bytes have passed wire::check or come from the transcoder: prost finds nothing new to refuse.
                let output = answer.map_err(Error::internal)?.await?;
                let mut out = Vec::with_capacity(PREFIX + output.encoded_len());
                out.extend_from_slice(&[0; PREFIX]);
                output.encode(&mut out).map_err(Error::internal)?;
                Ok(out)
            })
        }));
        self
    }

    /// Builds an RPC on the wire bytes of its messages: for one that passes them on, and for tests that walk the table. The bytes
    /// are checked and validated as for any other.
    ///
    /// # Panics
    /// If it is built already.
    pub fn add_bytes<F, Fut>(&mut self, method: &'static Method, handler: F) -> &mut Self
    where
        F: Fn(Context, Bytes) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<u8>, Error>> + Send + 'static,
    {
        let slot = &mut self.handlers[method.index];
        assert!(slot.is_none(), "{} is built twice", method.path);
        *slot = Some(Box::new(move |context, wire| {
            let answer = handler(context, wire);
            Box::pin(async move {
                let mut out = vec![0; PREFIX];
                out.extend_from_slice(&answer.await?);
                Ok(out)
            })
        }));
        self
    }

    /// Whether the RPC with this index is built.
    pub fn is_built(&self, index: usize) -> bool {
        self.handlers.get(index).is_some_and(Option::is_some)
    }

    /// Starts the handler on wire bytes; its answer has room for a gRPC prefix in front. `None` if the RPC is not built.
    pub(crate) fn call(&self, index: usize, context: Context, wire: Bytes) -> Option<Answer> {
        self.handlers.get(index)?.as_ref().map(|handler| handler(context, wire))
    }
}
