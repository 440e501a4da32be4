//! Floor of the token endpoint: a bare hyper POST and raw RSA-2048 signatures (PKCS #1 v1.5, SHA-256) with the key parsed once. For
//! logins a GET is answered by a redirect before that.
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
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serve::{Protocol, serve};

#[derive(Parser)]
struct Arguments {
    /// File with the body of the answer: the size of what is signed and sent.
    #[arg(long)]
    body: PathBuf,
    /// Signatures for each POST, over as many bytes together.
    #[arg(long, default_value_t = 1)]
    signatures: usize,
    /// Where a GET is redirected to.
    #[arg(long, default_value = "/")]
    redirect: HeaderValue,
}

fn main() -> std::io::Result<()> {
    let Arguments { body, signatures, redirect } = Arguments::parse();
    let body = Bytes::from(std::fs::read(body)?);
    let key = Arc::new(KeyPair::generate(KeySize::Rsa2048).map_err(std::io::Error::other)?);
    serve(Protocol::Http1, move |request| {
        let (body, key, redirect) = (body.clone(), key.clone(), redirect.clone());
        async move {
            let is_get = request.method() == Method::GET;
            request.into_body().collect().await?;
            if is_get {
                let mut response = Response::new(Full::default());
                *response.status_mut() = StatusCode::SEE_OTHER;
                response.headers_mut().insert(LOCATION, redirect);
                return Ok(response);
            }
            for signed in body.chunks(body.len().div_ceil(signatures)) {
                let mut signature = [0; 256];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed, &mut signature).expect("a fresh key signs");
                black_box(signature);
            }
            let mut response = Response::new(Full::new(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            Ok(response)
        }
    })
}
