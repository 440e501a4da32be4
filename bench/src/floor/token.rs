//! Floor of the token endpoint: a bare hyper POST and one raw RSA-2048 signature (PKCS #1 v1.5, SHA-256) with the key parsed once.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the address goes to the program that started this one")]

mod serve;

use std::hint::black_box;
use std::path::PathBuf;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use bytes::Bytes;
use clap::Parser;
use http::Response;
use http::header::{CONTENT_TYPE, HeaderValue};
use http_body_util::{BodyExt, Full};
use serve::{Protocol, serve};

#[derive(Parser)]
struct Arguments {
    /// File with the body of the answer: the size of what is signed and sent.
    #[arg(long)]
    body: PathBuf,
}

fn main() -> std::io::Result<()> {
    let body = Bytes::from(std::fs::read(Arguments::parse().body)?);
    let key = Arc::new(KeyPair::generate(KeySize::Rsa2048).map_err(std::io::Error::other)?);
    serve(Protocol::Http1, move |request| {
        let (body, key) = (body.clone(), key.clone());
        async move {
            request.into_body().collect().await?;
            let mut signature = [0; 256];
            key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &body, &mut signature).expect("a fresh key signs");
            black_box(signature);
            let mut response = Response::new(Full::new(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        }
    })
}
